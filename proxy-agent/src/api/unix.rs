//! Unix sockets that only root may speak to. Whoever takes their path away shuts nobody out for long: they are bound again.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    net::{UnixListener, UnixStream, unix::SocketAddr},
    time::{sleep, timeout},
};

use crate::model::{Mended, Owned};

/// How often it is looked whether the path is still the socket's.
const LOOK: Duration = Duration::from_secs(3);
/// After an error: out of descriptors, most likely, and others must get the chance to close some.
const PAUSE: Duration = Duration::from_millis(100);

/// Root's alone.
const MODE: u32 = 0o600;

/// A listening socket.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    listener: UnixListener,
    /// Device and inode of the path.
    place: (u64, u64),
    what: Owned,
    mended: Mended,
}

impl Bound {
    /// Binds, replacing what a dead agent left. Needs a runtime.
    pub fn new(path: &Path, what: Owned) -> io::Result<Self> {
        let (listener, place) = bind(path)?;
        Ok(Self {
            path: path.to_owned(),
            listener,
            place,
            what,
            mended: Mended::default(),
        })
    }

    /// Tells there when it had to be bound again.
    #[must_use]
    pub fn telling(mut self, mended: &Mended) -> Self {
        self.mended = mended.clone();
        self
    }

    /// The next connection.
    pub async fn next(&mut self) -> UnixStream {
        loop {
            match timeout(LOOK, self.listener.accept()).await {
                Ok(Ok((stream, _))) => return stream,
                Ok(Err(error)) => {
                    tracing::warn!(socket = %self.path.display(), %error, "accept");
                    sleep(PAUSE).await;
                }
                Err(_elapsed) => self.look(),
            }
        }
    }

    fn look(&mut self) {
        if place(&self.path).is_ok_and(|place| place == self.place) {
            self.close_to_others();
            return;
        }
        match bind(&self.path) {
            Ok((listener, place)) => {
                (self.listener, self.place) = (listener, place);
                self.mended.note(self.what, "the path of a socket");
            }
            Err(error) => {
                tracing::warn!(socket = %self.path.display(), %error, "bind it again");
            }
        }
    }

    fn close_to_others(&self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| found.mode() & 0o7777 == MODE) {
            return;
        }
        match fs::set_permissions(&self.path, fs::Permissions::from_mode(MODE)) {
            Ok(()) => self.mended.note(self.what, "the mode of a socket"),
            Err(error) => {
                tracing::warn!(socket = %self.path.display(), %error, "close it to others");
            }
        }
    }
}

impl Listener for Bound {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let stream = self.next().await;
            if let Ok(address) = stream.peer_addr() {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn bind(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    Ok((listener, place(path)?))
}

fn place(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_path_that_is_taken_away_or_is_anothers_is_bound_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run").join("a.sock");
        let mended = Mended::default();
        let bound = Bound::new(&path, Owned::AgentSocket).unwrap();
        let mut bound = bound.telling(&mended);
        fs::write(folder.path().join("other"), "").unwrap();
        let other = || fs::rename(folder.path().join("other"), &path).unwrap();
        let gone = || fs::remove_dir_all(path.parent().unwrap()).unwrap();
        let open = || fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        for harm in [&gone as &dyn Fn(), &other, &open] {
            harm();
            assert!(timeout(LOOK * 2, bound.next()).await.is_err());
            let (stream, client) = tokio::join!(bound.next(), UnixStream::connect(&path));
            drop((stream, client.unwrap()));
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert_eq!(mended.take().len(), 1);
        }
    }
}
