//! A subtree for each node in every cgroup hierarchy, and the end of all that runs in one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context as _, Result, bail};

/// The mounted hierarchies.
#[derive(Debug)]
pub(crate) struct Hierarchies {
    /// Version 1, one per controller; empty on a pure version 2 host.
    v1: Vec<PathBuf>,
    /// Version 2, where cgroup programs attach.
    v2: PathBuf,
}

impl Hierarchies {
    /// Finds them in the mount table.
    pub(crate) fn find() -> Result<Self> {
        parse(&fs::read_to_string("/proc/self/mounts").context("cannot read the mount table")?)
    }

    /// The folder of a subtree in the version 2 hierarchy.
    pub(crate) fn v2(&self, name: &str) -> PathBuf {
        self.v2.join(name)
    }

    /// Makes the subtree, with a leaf `system` in version 2: processes may not sit beside subtrees there.
    pub(crate) fn create(&self, name: &str) -> Result<()> {
        for hierarchy in &self.v1 {
            let folder = hierarchy.join(name);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            // A new cpuset is empty, and nothing can run in it.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let (from, to) = (hierarchy.join(file), folder.join(file));
                if from.exists() {
                    fs::write(&to, fs::read(&from)?)
                        .with_context(|| format!("cannot write {}", to.display()))?;
                }
            }
        }
        let system = self.v2(name).join("system");
        fs::create_dir_all(&system).with_context(|| format!("cannot create {}", system.display()))
    }

    /// Kills all that runs in the subtree and removes it everywhere; no subtree is fine too.
    pub(crate) fn destroy(&self, name: &str) -> Result<()> {
        let folder = self.v2(name);
        if folder.exists() {
            let kill = folder.join("cgroup.kill");
            fs::write(&kill, "1").with_context(|| format!("cannot write {}", kill.display()))?;
        }
        let folders = self
            .v1
            .iter()
            .map(|hierarchy| hierarchy.join(name))
            .chain([folder]);
        folders
            .filter(|folder| folder.exists())
            .try_for_each(|folder| remove(&folder))
    }

    /// Subtrees whose name starts with `lab-`, in any hierarchy.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let all = self.v1.iter().chain([&self.v2]);
        let entries = all
            .filter_map(|hierarchy| fs::read_dir(hierarchy).ok())
            .flatten()
            .flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name == super::place::FABRIC_CGROUP || name.starts_with("lab-n"))
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

fn parse(mounts: &str) -> Result<Hierarchies> {
    let of = |kind: &str| -> Vec<PathBuf> {
        let fields = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        fields
            .filter(|it| it.get(2) == Some(&kind))
            .filter_map(|it| it.get(1).map(PathBuf::from))
            .collect()
    };
    match of("cgroup2").into_iter().next() {
        Some(v2) => Ok(Hierarchies {
            v1: of("cgroup"),
            v2,
        }),
        None => bail!("no cgroup2 hierarchy is mounted: cgroup programs and cgroup.kill need it"),
    }
}

/// Removes a cgroup and those below it; what was killed takes a moment to go.
fn remove(folder: &Path) -> Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            remove(&path)?;
        }
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error)
                    .with_context(|| format!("cannot remove cgroup {}", folder.display()));
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_hosts_have_both_versions() -> Result<()> {
        let found = parse(
            "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
        )?;
        assert_eq!(found.v1, [PathBuf::from("/sys/fs/cgroup/cpu")]);
        assert_eq!(
            found.v2("lab-n1"),
            PathBuf::from("/sys/fs/cgroup/unified/lab-n1")
        );
        Ok(())
    }

    #[test]
    fn a_host_without_version_2_is_refused() {
        assert!(parse("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n").is_err());
    }
}
