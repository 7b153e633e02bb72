//! Cgroups (version 2) of worlds: where sockets and processes of a node live, and how they are ended.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::until;

/// Names of the cgroups of all worlds start with this, then the pid of the run that made them.
pub(super) const PREFIX: &str = "weir-w-";

/// A cgroup of a world; removing it is explicit, see [`Cgroup::remove`].
#[derive(Clone, Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// The machine's cgroup2 root, wherever it is mounted.
    pub fn root() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("read mountinfo")?;
        let path = mounts
            .lines()
            .find_map(cgroup2_mount_point)
            .context("no cgroup2 file system is mounted")?;
        Ok(Self { path: path.into() })
    }

    /// A child, made when absent.
    pub fn child(&self, name: &str) -> Result<Self> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("make cgroup {}", path.display()))?;
        Ok(Self { path })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ids of the processes in it and below.
    pub fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for folder in self.tree() {
            let listed = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        found
    }

    /// Kills every process in it and below, then removes it and its children.
    pub fn remove(&self) -> Result<()> {
        if !self.path.exists() {
            return Ok(());
        }
        fs::write(self.path.join("cgroup.kill"), "1")
            .with_context(|| format!("kill cgroup {}", self.path.display()))?;
        until(
            &format!("processes of {} to end", self.path.display()),
            Duration::from_secs(10),
            || Ok(self.is_empty()?.then_some(())),
        )?;
        for folder in self.tree() {
            remove_folder(&folder)?;
        }
        Ok(())
    }

    fn is_empty(&self) -> Result<bool> {
        match fs::read_to_string(self.path.join("cgroup.events")) {
            Ok(events) => Ok(events.contains("populated 0")),
            // Another run cleans up after the same one.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) => {
                Err(error).with_context(|| format!("read events of cgroup {}", self.path.display()))
            }
        }
    }

    /// Folders of the subtree, children before parents.
    fn tree(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.path, &mut found);
        found
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
    found.push(folder.to_owned());
}

/// The kernel empties a cgroup a little after its last process was reaped: EBUSY until then.
fn remove_folder(folder: &Path) -> Result<()> {
    until(
        &format!("removal of cgroup {}", folder.display()),
        Duration::from_secs(5),
        || match fs::remove_dir(folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(Some(())),
        },
    )
}

fn cgroup2_mount_point(line: &str) -> Option<&str> {
    let (mount, source) = line.split_once(" - ")?;
    if source.split(' ').next()? != "cgroup2" {
        return None;
    }
    mount.split(' ').nth(4)
}

/// Removes what runs that no longer exist have left, once per process.
pub(super) fn sweep() -> Result<()> {
    static SWEPT: Once = Once::new();
    let mut outcome = Ok(());
    SWEPT.call_once(|| outcome = sweep_now());
    outcome
}

fn sweep_now() -> Result<()> {
    let root = Cgroup::root()?;
    let mut failed = Vec::new();
    for entry in fs::read_dir(root.path())
        .with_context(|| format!("list {}", root.path().display()))?
        .flatten()
    {
        if owner(&entry.file_name().to_string_lossy()).is_none_or(is_alive) {
            continue;
        }
        let stale = Cgroup { path: entry.path() };
        if let Err(error) = stale.remove() {
            failed.push(format!("{error:#}"));
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("clean up after earlier runs: {}", failed.join("; "))
}

/// The process that made a world's cgroup, from its name.
pub(super) fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
