//! When the node's key was made, by a clock that cannot jump: a file beside the key.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use cni_plugin::{clock, node_file::boot_id};

/// A time of a boot. In the file: the boot's id and whole seconds, divided by a blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Of which boot.
    pub(super) boot: String,
    /// Since it began.
    pub(super) seconds: u64,
}

impl Made {
    /// Now.
    pub fn now() -> io::Result<Self> {
        Ok(Self {
            boot: boot_id()?,
            seconds: clock::now(),
        })
    }

    /// The file beside a key.
    pub fn file(key: &Path) -> PathBuf {
        key.with_extension("made")
    }

    /// What is noted; none if nothing is that makes sense.
    pub(super) fn read(file: &Path) -> Option<Self> {
        let text = fs::read_to_string(file).ok()?;
        let (boot, seconds) = text.trim().split_once(' ')?;
        Some(Self {
            boot: boot.to_owned(),
            seconds: seconds.parse().ok()?,
        })
    }

    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let write = || {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(file, format!("{} {}\n", self.boot, self.seconds))
        };
        write().with_context(|| format!("write {}", file.display()))
    }

    /// Whether it was longer ago than so, or in an earlier boot.
    pub(super) fn is_older(&self, now: &Self, age: Duration) -> bool {
        let passed = clock::age(now.seconds, self.seconds);
        self.boot != now.boot || Duration::from_secs(passed) >= age
    }
}
