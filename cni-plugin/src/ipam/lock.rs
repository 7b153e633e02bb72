//! The lock around the addresses. The kernel drops it when its holder dies.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

/// Held while it lives.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

/// Takes the lock, waiting for it until `deadline`. It is held for less than a millisecond by others, so
/// asking again is cheaper than a wait that no deadline could end.
pub fn lock(path: &Path, deadline: Instant) -> io::Result<Lock> {
    let mut file = open(path)?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            // Somebody may have removed the file: who comes later locks another one.
            Ok(held) if !is_at(&held, path) => file = open(path)?,
            Ok(held) => return Ok(Lock(held)),
            Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) if Instant::now() < deadline => {
                file = back;
                thread::sleep(Duration::from_millis(1));
            }
            Err((file, Errno::EWOULDBLOCK)) => return Err(stuck(&file)),
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

/// Whether a file that is held open is still the one of this name.
pub fn is_at(file: &File, path: &Path) -> bool {
    let place = |found: Metadata| (found.dev(), found.ino());
    let [here, there] = [file.metadata(), fs::metadata(path)].map(|found| found.ok().map(place));
    here.is_some() && here == there
}

fn stuck(file: &File) -> io::Error {
    let holder = file.metadata().ok().and_then(|meta| holder(&meta));
    let holder = holder.unwrap_or_else(|| "a process that is not to be seen from here".to_owned());
    io::Error::new(io::ErrorKind::WouldBlock, format!("held by {holder}"))
}

/// Process and command line of who has a file locked. Processes of other PID namespaces show as 0 there.
fn holder(file: &Metadata) -> Option<String> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().find_map(|line| pid_of(line, file))?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = command.split(|byte| *byte == 0).filter(|w| !w.is_empty());
    let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
    Some(format!("process {pid} ({})", words.join(" ")))
}

/// `3: FLOCK  ADVISORY  WRITE 4711 00:1b:12345 0 EOF`: number, kind, mode, access, process, device and inode.
fn pid_of(line: &str, file: &Metadata) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, _, pid, place, ..] = words.as_slice() else {
        return None;
    };
    let mut place = place.split(':');
    let hex = |word: Option<&str>| u64::from_str_radix(word?, 16).ok();
    let (major, minor) = (hex(place.next())?, hex(place.next())?);
    let inode: u64 = place.next()?.parse().ok()?;
    let device = (
        u64::from(libc::major(file.dev())),
        u64::from(libc::minor(file.dev())),
    );
    let pid: u32 = pid.parse().ok()?;
    ((major, minor) == device && inode == file.ino() && pid != 0).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path, Instant::now()).unwrap();
        let error = lock(&path, Instant::now() + Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let me = format!("held by process {} (", std::process::id());
        assert!(error.to_string().starts_with(&me), "{error}");
        drop(held);
        lock(&path, Instant::now()).unwrap();
    }

    #[test]
    fn a_file_that_was_removed_meanwhile_is_not_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run").join("lock");
        let former = lock(&path, Instant::now()).unwrap();
        let waits = thread::spawn({
            let path = path.clone();
            move || lock(&path, Instant::now() + Duration::from_secs(10)).unwrap()
        });
        thread::sleep(Duration::from_millis(20));
        fs::remove_dir_all(folder.path().join("run")).unwrap();
        drop(former);
        let _held = waits.join().unwrap();
        assert!(lock(&path, Instant::now()).is_err(), "it is locked by name");
    }
}
