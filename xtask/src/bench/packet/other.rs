//! The other commit: a scratch worktree, with today's bench on top.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::child;
use crate::{paths, run, say};

/// Where the bench lies in a checkout.
const BENCHES: &str = "tests/benches";

/// A worktree of the other commit, until it is dropped.
pub(super) struct Other {
    checkout: PathBuf,
    /// Builds are reused between runs.
    target: PathBuf,
    /// Whoever has it may change the two folders.
    _lock: File,
}

impl Other {
    /// Checks a commit out.
    pub(super) fn check_out(rev: &str) -> Result<Self> {
        let name = format!("{rev}^{{commit}}");
        let commit = run::output(git().args(["rev-parse", "--verify", "--quiet", &name]))
            .context("hint: --against takes what `git rev-parse` knows")
            .with_context(|| format!("no commit `{rev}`"))?;
        let folder = paths::cache()?.join("against");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let lock = folder.join("lock");
        let lock = File::create(&lock)
            .and_then(|file| file.lock().map(|()| file))
            .with_context(|| format!("lock {}", lock.display()))?;
        // Always the same path, of which cargo makes names.
        let other = Self {
            checkout: folder.join("checkout"),
            target: folder.join("target"),
            _lock: lock,
        };
        // One that was killed has left its own.
        other.remove()?;
        run::output(
            git()
                .args(["worktree", "add", "--detach", "--force"])
                .arg(&other.checkout)
                .arg(commit),
        )?;
        Ok(other)
    }

    /// Builds its programs and library with our bench.
    pub(super) fn build(&self) -> Result<PathBuf> {
        let benches = self.checkout.join(BENCHES);
        fs::remove_dir_all(&benches).with_context(|| format!("remove {}", benches.display()))?;
        copy(&paths::root().join(BENCHES), &benches)?;
        child::build(&self.checkout, super::BENCH, Some(&self.target))
    }

    fn remove(&self) -> Result<()> {
        if self.checkout.exists() {
            fs::remove_dir_all(&self.checkout)
                .with_context(|| format!("remove {}", self.checkout.display()))?;
        }
        run::output(git().args(["worktree", "prune"])).map(drop)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            say::error(&error);
        }
    }
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.current_dir(paths::root());
    git
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", from.display()))?;
        let (source, copied) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &copied)?;
        } else {
            fs::copy(&source, &copied).with_context(|| format!("copy {}", source.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn folders_are_copied_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("inner")).unwrap();
        fs::write(from.join("inner/file"), "text").unwrap();
        super::copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("inner/file")).unwrap(), "text");
    }
}
