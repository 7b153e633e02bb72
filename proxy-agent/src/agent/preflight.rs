//! What must be there before anything is loaded. Every check names what is missing and what to do.

use std::{fs, path::Path};

use nix::sys::statfs::{BPF_FS_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};

use crate::config::Configuration;

/// Something that is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}\nhint: {hint}")]
pub struct Missing {
    /// What, and how it was seen.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Capabilities that loading, attaching and routing need (`capability.h`).
const CAPABILITIES: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (39, "CAP_BPF")];
/// Stands for all of them on old kernels.
const SYS_ADMIN: u32 = 21;
/// The oldest kernel on which the programs load.
const OLDEST: (u32, u32) = (5, 10);

/// Everything that is missing.
pub fn check(config: &Configuration) -> Vec<Missing> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    [
        privileges(&status),
        kernel(release.trim()),
        cgroup(&config.cgroup_root),
        bpffs(&config.bpffs),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Looks for capabilities in the text of `/proc/self/status`.
fn privileges(status: &str) -> Option<Missing> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    let has = |bit: u32| effective >> bit & 1 == 1;
    if has(SYS_ADMIN) && has(12) {
        return None;
    }
    let lacking: Vec<_> = CAPABILITIES
        .iter()
        .filter(|(bit, _)| !has(*bit))
        .map(|(_, name)| *name)
        .collect();
    (!lacking.is_empty()).then(|| Missing {
        message: format!(
            "no privileges: this process lacks {}",
            lacking.join(" and ")
        ),
        hint: "run as root, or in a Pod with securityContext.privileged: true".to_owned(),
    })
}

fn kernel(release: &str) -> Option<Missing> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let found: (u32, u32) = (next(), next());
    (found < OLDEST).then(|| Missing {
        message: format!(
            "kernel too old: {release} is older than {}.{}",
            OLDEST.0, OLDEST.1
        ),
        hint: "supported from 6.1; 5.10 loads and balances".to_owned(),
    })
}

fn cgroup(root: &Path) -> Option<Missing> {
    if root.as_os_str().is_empty() {
        return Some(Missing {
            message: "no cgroup2: /proc/mounts has no file system of type cgroup2".to_owned(),
            hint: "mount -t cgroup2 none /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1; in a Pod, mount the host's /sys/fs/cgroup".to_owned(),
        });
    }
    is_mounted(root, CGROUP2_SUPER_MAGIC).map(|seen| Missing {
        message: format!("no cgroup2: cgroupRoot {} {seen}", root.display()),
        hint: "name a folder of a cgroup2 mount with --cgroup-root".to_owned(),
    })
}

fn bpffs(point: &Path) -> Option<Missing> {
    is_mounted(point, BPF_FS_MAGIC).map(|seen| Missing {
        message: format!("no bpffs: bpffs {} {seen}", point.display()),
        hint: format!(
            "mount -t bpf bpf {}; in a Pod, mount the host's folder with mountPropagation: Bidirectional",
            point.display()
        ),
    })
}

/// What is seen in place of the file system; none if it is there.
fn is_mounted(path: &Path, kind: FsType) -> Option<String> {
    match statfs(path) {
        Ok(found) if found.filesystem_type() == kind => None,
        Ok(found) => Some(format!(
            "is on another file system (type {:#x})",
            found.filesystem_type().0
        )),
        Err(error) => Some(format!("cannot be looked at: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{bpffs, cgroup, kernel, privileges};

    #[test]
    fn names_what_is_missing() {
        let none = privileges("Name:\tx\nCapEff:\t0000000000000000\n").unwrap();
        assert_eq!(
            none.message,
            "no privileges: this process lacks CAP_NET_ADMIN and CAP_BPF"
        );
        let some = privileges("CapEff:\t0000008000000000\n").unwrap();
        assert_eq!(
            some.message,
            "no privileges: this process lacks CAP_NET_ADMIN"
        );
        assert_eq!(privileges("CapEff:\t000001ffffffffff\n"), None);
        assert_eq!(privileges("CapEff:\t0000008000001000\n"), None);

        let old = kernel("4.19.0-26-amd64").unwrap();
        assert_eq!(
            old.message,
            "kernel too old: 4.19.0-26-amd64 is older than 5.10"
        );
        assert_eq!(kernel("5.10.0"), None);
        assert_eq!(kernel("6.1.0-13-cloud-amd64"), None);

        assert!(
            cgroup(Path::new(""))
                .unwrap()
                .message
                .starts_with("no cgroup2: /proc/mounts")
        );
        let proc = cgroup(Path::new("/proc")).unwrap().message;
        assert_eq!(
            proc,
            "no cgroup2: cgroupRoot /proc is on another file system (type 0x9fa0)"
        );
        let absent = bpffs(Path::new("/nonexistent")).unwrap();
        assert!(
            absent
                .message
                .starts_with("no bpffs: bpffs /nonexistent cannot be looked at"),
            "{absent}"
        );
        assert!(
            absent.hint.starts_with("mount -t bpf bpf /nonexistent"),
            "{absent}"
        );
    }
}
