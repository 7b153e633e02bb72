//! Preflight checks: what the machine must have, checked before anything is touched, with a hint for each lack.

pub mod features;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::bpfsys;

const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// `include/uapi/linux/capability.h`.
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// What the machine lacks.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// Capabilities are missing.
    #[error("no privileges: {missing} missing")]
    Privileges {
        /// Names of the capabilities.
        missing: String,
    },
    /// The kernel lacks what programs need.
    #[error("kernel {release} lacks {}", lacking.join("; "))]
    KernelLacks {
        /// Its release.
        release: String,
        /// What it lacks, and what that costs.
        lacking: Vec<String>,
    },
    /// No cgroup v2 hierarchy.
    #[error("no cgroup v2 hierarchy at {path}: {reason}")]
    NoCgroup2 {
        /// Where it should be.
        path: PathBuf,
        /// What is there.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// No BPF file system.
    #[error("no BPF file system at {path}: {reason}")]
    NoBpffs {
        /// Where it should be.
        path: PathBuf,
        /// What is there.
        reason: String,
    },
    /// A question to the kernel failed.
    #[error("{question}: {source}")]
    Unanswered {
        /// The question.
        question: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl PreflightError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Privileges { .. } => {
                "run as root, or in a container with securityContext.privileged or \
                                        capabilities BPF, PERFMON and NET_ADMIN"
                    .to_owned()
            }
            Self::KernelLacks { .. } => {
                "boot a newer kernel on this node: Linux 6.1 has all of it, and some distributions' older ones".to_owned()
            }
            Self::NoCgroup2 { hint, .. } => hint.clone(),
            Self::NoBpffs { path, .. } => format!(
                "mount -t bpf bpf {}, or mount the host's /sys/fs/bpf into the container with \
                 mountPropagation HostToContainer",
                path.display()
            ),
            Self::Unanswered { .. } => "is /proc mounted here?".to_owned(),
        }
    }
}

/// Checks everything that opening the datapath needs.
pub fn check(bpffs: &Path, cgroup_root: &Path) -> Result<(), PreflightError> {
    privileges()?;
    kernel()?;
    cgroup2(cgroup_root)?;
    mounted_bpffs(bpffs)
}

/// Whether the kernel has what programs need; its release.
pub fn kernel() -> Result<String, PreflightError> {
    let release = read("/proc/sys/kernel/osrelease", "read the kernel's release")?;
    let release = release.trim().to_owned();
    let lacking = features::lacking(features::has);
    if lacking.is_empty() {
        return Ok(release);
    }
    Err(PreflightError::KernelLacks { release, lacking })
}

/// Whether we have the capabilities that we need.
pub fn privileges() -> Result<(), PreflightError> {
    let status = read("/proc/self/status", "read our capabilities")?;
    let missing = missing_capabilities(effective(&status));
    if missing.is_empty() {
        return Ok(());
    }
    Err(PreflightError::Privileges {
        missing: missing.join(", "),
    })
}

fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    line.and_then(|l| u64::from_str_radix(l.trim(), 16).ok())
        .unwrap_or(0)
}

fn missing_capabilities(effective: u64) -> Vec<&'static str> {
    // CAP_SYS_ADMIN stands for BPF and PERFMON (capabilities(7)).
    let all = effective & CAP_SYS_ADMIN != 0;
    let needed = [
        ("CAP_BPF", CAP_BPF, all),
        ("CAP_PERFMON", CAP_PERFMON, all),
        ("CAP_NET_ADMIN", CAP_NET_ADMIN, false),
    ];
    let lacking = needed
        .into_iter()
        .filter(|(_, bit, covered)| effective & bit == 0 && !covered);
    lacking.map(|(name, ..)| name).collect()
}

/// Whether a cgroup v2 hierarchy is there.
pub fn cgroup2(path: &Path) -> Result<(), PreflightError> {
    if path.as_os_str().is_empty() {
        return Err(PreflightError::NoCgroup2 {
            path: "/sys/fs/cgroup".into(),
            reason: "there is only a container's own cgroup, below which nothing else of the node runs".to_owned(),
            hint: "mount the node's /sys/fs/cgroup into the container, and name it: cgroupRoot (--cgroup-root)".to_owned(),
        });
    }
    let reason = match bpfsys::file_system(path) {
        Ok(CGROUP2_SUPER_MAGIC) => return Ok(()),
        Ok(_) => "another file system is there".to_owned(),
        Err(error) => error.to_string(),
    };
    let hint = match mounted("cgroup2") {
        Some(elsewhere) => format!(
            "one is mounted at {elsewhere}: set the cgroup root to it; with the chart, hostPaths.cgroup to the folder of the node that is mounted there"
        ),
        None => format!(
            "mount -t cgroup2 none {}, or boot with systemd.unified_cgroup_hierarchy=1",
            path.display()
        ),
    };
    Err(PreflightError::NoCgroup2 {
        path: path.to_owned(),
        reason,
        hint,
    })
}

/// Mounts the BPF file system, unless it is there. Gives whether it was mounted.
pub fn mount_bpffs(path: &Path) -> Result<bool, PreflightError> {
    if mounted_bpffs(path).is_ok() {
        return Ok(false);
    }
    let none = None::<&str>;
    let mounted = nix::mount::mount(
        Some("bpf"),
        path,
        Some("bpf"),
        nix::mount::MsFlags::empty(),
        none,
    );
    mounted.map_err(|errno| PreflightError::NoBpffs {
        path: path.to_owned(),
        reason: format!("it cannot be mounted: {}", errno.desc()),
    })?;
    Ok(true)
}

/// Whether a BPF file system is there.
pub fn mounted_bpffs(path: &Path) -> Result<(), PreflightError> {
    let reason = match bpfsys::file_system(path) {
        Ok(BPF_FS_MAGIC) => return Ok(()),
        Ok(_) => "another file system is there".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(PreflightError::NoBpffs {
        path: path.to_owned(),
        reason,
    })
}

/// Where a file system of a kind is mounted first.
pub fn mounted(kind: &str) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, place, found) = (fields.next()?, fields.next()?, fields.next()?);
        (found == kind).then(|| place.to_owned())
    })
}

fn read(path: &str, question: &'static str) -> Result<String, PreflightError> {
    fs::read_to_string(path).map_err(|source| PreflightError::Unanswered { question, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_refused_for_what_it_lacks() {
        let error = PreflightError::KernelLacks {
            release: "5.15.0-91-generic".to_owned(),
            lacking: features::lacking(|ask| !matches!(ask, features::Ask::Program(_))),
        };
        let said = error.to_string();
        assert!(
            said.starts_with(
                "kernel 5.15.0-91-generic lacks programs of tc (Linux 4.1), for pods and links; "
            ),
            "{said}"
        );
    }

    #[test]
    fn capabilities_are_named() {
        assert_eq!(
            effective("Name:\tx\nCapEff:\t000000c000001000\n"),
            0xc0_0000_1000
        );
        assert!(missing_capabilities(0xc0_0000_1000).is_empty());
        assert!(missing_capabilities(CAP_SYS_ADMIN | CAP_NET_ADMIN).is_empty());
        assert_eq!(
            missing_capabilities(0),
            ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]
        );
    }

    #[test]
    fn a_plain_folder_is_neither_cgroup_nor_bpffs() {
        let folder = tempfile::tempdir().unwrap();
        let hint = cgroup2(folder.path()).unwrap_err().hint();
        assert!(hint.contains("cgroup"), "{hint}");
        let hint = mounted_bpffs(folder.path()).unwrap_err().hint();
        assert!(hint.contains("mount -t bpf"), "{hint}");
        let error = mounted_bpffs(Path::new("/absent")).unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
    }
}
