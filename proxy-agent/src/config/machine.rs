//! What the machine tells, where nobody else does.

use std::{fs, path::PathBuf};

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
        // Where none is mounted, the preflight says so of this usual place.
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        config.cgroup_root = cgroup2_mount(&mounts).unwrap_or_else(|| "/sys/fs/cgroup".into());
        filled.push("cgroupRoot");
    }
    filled
}

/// Where cgroup2 is mounted, according to the text of `/proc/mounts`.
fn cgroup2_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::cgroup2_mount;

    #[test]
    fn finds_the_cgroup2_mount() {
        let mounts = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        assert_eq!(cgroup2_mount(mounts).unwrap(), Path::new("/sys/fs/cgroup"));
        assert_eq!(cgroup2_mount("proc /proc proc rw 0 0\n"), None);
    }
}
