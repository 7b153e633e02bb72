//! What the machine tells, where nobody else does.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::Configuration;

/// Fills what is empty, and gives its paths.
pub(super) fn complete(config: &mut Configuration) -> Vec<&'static str> {
    let mut filled = Vec::new();
    if config.node_name.is_empty()
        && let Ok(name) = nix::unistd::gethostname()
    {
        // As the kubelet does (pkg/util/node GetHostname).
        config.node_name = name.to_string_lossy().trim().to_lowercase();
        filled.push("nodeName");
    }
    if config.cgroup_root.as_os_str().is_empty() {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        config.cgroup_root = cgroup_root(&mounts, look_at);
        filled.push("cgroupRoot");
    }
    filled
}

/// Where the root of cgroup2 is mounted, according to the text of `/proc/mounts`. A container's own cgroup is none, though it
/// looks like one in there: no process of the node is below it, and sockets would be balanced for nobody. It gives an empty
/// path, and where nothing is mounted the usual one: the preflight says what is wrong with either.
fn cgroup_root(mounts: &str, look_at: impl Fn(&Path) -> Option<Cgroup>) -> PathBuf {
    let points = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    });
    let found = points.filter_map(|point| look_at(&point).map(|cgroup| (point, cgroup)));
    let found: Vec<(PathBuf, Cgroup)> = found.collect();
    if found.is_empty() {
        return "/sys/fs/cgroup".into();
    }
    let mut roots = found
        .into_iter()
        .filter(|(_, cgroup)| *cgroup == Cgroup::Root);
    roots.next().map_or_else(PathBuf::new, |(point, _)| point)
}

/// What a folder of cgroup2 is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cgroup {
    /// The root of the whole hierarchy.
    Root,
    /// A cgroup below it, as containers see theirs.
    Other,
}

/// What is there; nothing of cgroup2 where another mount hides it. The root alone has no `cgroup.type` (kernel/cgroup/cgroup.c,
/// `CFTYPE_NOT_ON_ROOT`).
fn look_at(folder: &Path) -> Option<Cgroup> {
    let kind = statfs(folder).ok()?.filesystem_type();
    if kind != CGROUP2_SUPER_MAGIC {
        return None;
    }
    let is_root = !folder.join("cgroup.type").exists();
    Some(if is_root { Cgroup::Root } else { Cgroup::Other })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Cgroup, cgroup_root};

    #[test]
    fn a_containers_own_cgroup_is_not_the_nodes() {
        let mounts = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n\
                      cgroup2 /host/cgroup cgroup2 rw 0 0\n";
        let usual = Path::new("/sys/fs/cgroup");
        let root = |name: &'static str| {
            move |point: &Path| {
                let is_root = point == Path::new(name);
                Some(if is_root { Cgroup::Root } else { Cgroup::Other })
            }
        };
        for name in ["/sys/fs/cgroup", "/host/cgroup"] {
            assert_eq!(cgroup_root(mounts, root(name)), Path::new(name));
        }
        assert_eq!(cgroup_root(mounts, root("/none")), Path::new(""));
        assert_eq!(cgroup_root(mounts, |_| None), usual, "all are hidden");
        let none = "proc /proc proc rw 0 0\n";
        assert_eq!(cgroup_root(none, |_| Some(Cgroup::Root)), usual);
    }
}
