//! What the machine tells, where nobody else does.

use std::{
    fs,
    path::{Path, PathBuf},
};

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
        config.cgroup_root = cgroup_root(&mounts, is_root);
        filled.push("cgroupRoot");
    }
    filled
}

/// Where the root of cgroup2 is mounted, according to the text of `/proc/mounts`. A container's own cgroup is none, though it
/// looks like one in there: no process of the node is below it, and sockets would be balanced for nobody. It gives an empty
/// path, and where nothing is mounted the usual one: the preflight says what is wrong with either.
fn cgroup_root(mounts: &str, is_root: impl Fn(&Path) -> bool) -> PathBuf {
    let points = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    });
    let points: Vec<PathBuf> = points.collect();
    if points.is_empty() {
        return "/sys/fs/cgroup".into();
    }
    points
        .into_iter()
        .find(|point| is_root(point))
        .unwrap_or_default()
}

/// Whether a folder is the root of the whole hierarchy, which alone has no such file (kernel/cgroup/cgroup.c,
/// `CFTYPE_NOT_ON_ROOT`).
fn is_root(folder: &Path) -> bool {
    !folder.join("cgroup.type").exists()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::cgroup_root;

    #[test]
    fn a_containers_own_cgroup_is_not_the_nodes() {
        let mounts = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n\
                      cgroup2 /host/cgroup cgroup2 rw 0 0\n";
        let root = |name: &'static str| move |point: &Path| point == Path::new(name);
        for name in ["/sys/fs/cgroup", "/host/cgroup"] {
            assert_eq!(cgroup_root(mounts, root(name)), Path::new(name));
        }
        assert_eq!(cgroup_root(mounts, |_| false), Path::new(""));
        let none = cgroup_root("proc /proc proc rw 0 0\n", |_| true);
        assert_eq!(none, Path::new("/sys/fs/cgroup"));
    }
}
