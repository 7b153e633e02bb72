//! One agent per node: exclusive locks on a file in the run directory and on the folder of pins, which end with
//! the process.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use cni_plugin::ipam::lock::is_at;
use jiff::Timestamp;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

/// Name of the file. It stays: removing it would let two agents lock two files of one name.
const FILE: &str = "agent.lock";

/// The locks, held until this is dropped.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct Lock {
    file: Flock<File>,
    pins: Option<Flock<File>>,
}

/// The lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{field}: {path} is locked by another agent: {holder}", path = .path.display())]
    Held {
        /// The field of the configuration that named it.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What the other one wrote about itself.
        holder: String,
    },
    /// The file cannot be used.
    #[error("{operation} {path}: {source}", path = .path.display())]
    File {
        /// What was done.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl LockError {
    fn file(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Held { path, .. } => format!(
                "one agent per node: end that one first (`fuser {}` names it); agents that share a machine on purpose need \
                 a runDir and an instance each",
                path.display()
            ),
            Self::File { .. } => {
                "runDir must be a folder that the agent may write, bpffs one that it may read"
                    .to_owned()
            }
        }
    }
}

impl Lock {
    /// Locks `run_dir` for this process, or says who has it. Nothing else is touched.
    pub fn take(run_dir: &Path) -> Result<Self, LockError> {
        let path = run_dir.join(FILE);
        fs::create_dir_all(run_dir).map_err(|e| LockError::file("make", run_dir, e))?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| LockError::file("open", &path, e))?;
        let mut file = lock("runDir", &path, file)?;
        sign(&mut file).map_err(|e| LockError::file("write", &path, e))?;
        Ok(Self { file, pins: None })
    }

    /// Takes what somebody has taken away once more, and the file's folder with it; says whether the file was. Both are held
    /// until then, though nobody finds them.
    pub fn renew(&mut self, run_dir: &Path, pins: &Path) -> Result<bool, LockError> {
        let lost = !is_at(&self.file, &run_dir.join(FILE));
        if lost {
            self.file = Self::take(run_dir)?.file;
        }
        if self.pins.as_ref().is_some_and(|held| !is_at(held, pins)) {
            let held = self.pins.take();
            if let Err(error) = self.add_pins(pins) {
                self.pins = held;
                return Err(error);
            }
            // Not made again yet: the next look finds it.
            self.pins = self.pins.take().or(held);
        }
        Ok(lost)
    }

    /// Locks a folder of pins as well, if it is there: an agent with another run directory would share them.
    pub fn add_pins(&mut self, folder: &Path) -> Result<(), LockError> {
        if self.pins.is_some() {
            return Ok(());
        }
        match File::open(folder) {
            Ok(file) => self.pins = Some(lock("instance", folder, file)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(LockError::file("open", folder, error)),
        }
        Ok(())
    }
}

fn lock(field: &'static str, path: &Path, file: File) -> Result<Flock<File>, LockError> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => Ok(file),
        Err((file, Errno::EWOULDBLOCK)) => Err(LockError::Held {
            field,
            path: path.to_owned(),
            holder: holder(file),
        }),
        Err((_, errno)) => Err(LockError::file("lock", path, errno.into())),
    }
}

/// Writes who holds the lock, for whoever finds it taken.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(
        file,
        "pid {}, version {}, since {:.0}",
        std::process::id(),
        env!("CARGO_PKG_VERSION"),
        Timestamp::now()
    )
}

fn holder(mut file: File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        Err(error) if error.kind() != io::ErrorKind::IsADirectory => {
            format!("who it is cannot be read: {error}")
        }
        _ => "it has another runDir".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Lock, LockError};

    #[test]
    fn a_second_one_is_refused_and_told_by_whom() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path()).unwrap();
        let second = Lock::take(folder.path()).unwrap_err();
        let me = format!("pid {}, version", std::process::id());
        assert!(matches!(&second, LockError::Held { holder, .. } if holder.starts_with(&me)));
        assert!(second.hint().contains("agent.lock"), "{}", second.hint());
        drop(first);
        drop(Lock::take(folder.path()).unwrap());
    }

    #[test]
    fn what_was_taken_away_is_locked_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let [run, pins] = ["run", "pins"].map(|name| folder.path().join(name));
        std::fs::create_dir(&pins).unwrap();
        let mut first = Lock::take(&run).unwrap();
        first.add_pins(&pins).unwrap();
        assert!(!first.renew(&run, &pins).unwrap(), "all is there");
        std::fs::remove_dir_all(&run).unwrap();
        std::fs::remove_dir(&pins).unwrap();
        assert!(first.renew(&run, &pins).unwrap());
        Lock::take(&run).unwrap_err();
        std::fs::create_dir(&pins).unwrap();
        assert!(!first.renew(&run, &pins).unwrap(), "the file is there");
        let other = tempfile::tempdir().unwrap();
        let mut second = Lock::take(other.path()).unwrap();
        second.add_pins(&pins).unwrap_err();
        assert!(!first.renew(&run, &pins).unwrap());
    }

    #[test]
    fn pins_are_locked_beside_the_run_directory() {
        let [one, two, pins] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let (mut first, mut second) = (
            Lock::take(one.path()).unwrap(),
            Lock::take(two.path()).unwrap(),
        );
        first.add_pins(&pins.path().join("absent")).unwrap();
        first.add_pins(pins.path()).unwrap();
        let error = second.add_pins(pins.path()).unwrap_err().to_string();
        assert!(error.starts_with("instance: "), "{error}");
        assert!(error.ends_with("it has another runDir"), "{error}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Lock::take(&file.join("run")).unwrap_err().to_string();
        assert!(error.starts_with("make "), "{error}");
    }
}
