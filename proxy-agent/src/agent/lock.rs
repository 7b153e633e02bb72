//! One agent per run directory: an exclusive lock on a file in it, which ends with the process.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

/// Name of the file. It stays: removing it would let two agents lock two files of one name.
const FILE: &str = "agent.lock";

/// The lock, held until this is dropped.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct Lock {
    _file: Flock<File>,
}

/// The lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("runDir: {path} is locked by another agent: {holder}", path = .path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// What the other one wrote about itself.
        holder: String,
    },
    /// The file cannot be used.
    #[error("runDir: {operation} {path}: {source}", path = .path.display())]
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
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Held { path, .. } => format!(
                "one agent per node: end that one first (`fuser {}` names it); agents that share a machine on purpose need \
                 a runDir and an instance each",
                path.display()
            ),
            Self::File { .. } => "runDir must be a folder that the agent may write".to_owned(),
        }
    }
}

impl Lock {
    /// Locks `run_dir` for this process, or says who has it. Nothing else is touched.
    pub fn take(run_dir: &Path) -> Result<Self, LockError> {
        let path = run_dir.join(FILE);
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| LockError::File {
                operation,
                path,
                source,
            }
        };
        fs::create_dir_all(run_dir).map_err(failed("make", run_dir))?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                sign(&mut file).map_err(failed("write", &path))?;
                Ok(Self { _file: file })
            }
            Err((file, Errno::EWOULDBLOCK)) => Err(LockError::Held {
                path,
                holder: holder(file),
            }),
            Err((_, errno)) => Err(failed("lock", &path)(errno.into())),
        }
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
        Ok(_) => "it has not said who it is".to_owned(),
        Err(error) => format!("who it is cannot be read: {error}"),
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
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Lock::take(&file.join("run")).unwrap_err().to_string();
        assert!(error.starts_with("runDir: make "), "{error}");
    }
}
