//! Privileges, and what is mounted where.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use super::{Complaint, Fault, Verdict, finding::quoted, scene::Scene};
use crate::datapath::preflight::{self, PreflightError};

/// Where the node has its BPF file system.
const HOSTS: &str = "/sys/fs/bpf";
/// What `hostPaths.cgroup` of the chart is unless told.
const CHARTS: &str = "/sys/fs/cgroup";

/// Whether we have the capabilities that the agent needs.
pub(super) fn capabilities(_: &Scene) -> Verdict {
    match preflight::privileges() {
        Ok(()) => Verdict::fine("BPF, PERFMON and NET_ADMIN"),
        Err(error) => {
            Complaint::error(Fault::MissingCapability, error.to_string(), error.hint()).into()
        }
    }
}

/// Whether pins have a place, and whether the manifests' first container could make it.
pub(super) fn bpffs(scene: &Scene) -> Verdict {
    let path = &scene.here.bpffs;
    let mut verdict = judge_bpffs(path, path.is_dir(), preflight::mounted_bpffs(path));
    let ours = Path::new(HOSTS);
    // The same place as a container sees it; another one is somebody's choice.
    let is_view = path != ours && path.ends_with("sys/fs/bpf");
    let differs =
        is_view && preflight::mounted_bpffs(ours).is_ok() && file_system(ours) != file_system(path);
    if verdict.complaints.is_empty() && differs {
        verdict.complaints.push(elsewhere(ours));
    }
    if scene.before {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        verdict.complaints.extend(judge_sharing(&mounts));
    }
    verdict
}

/// Which file system is there.
fn file_system(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|there| there.dev())
}

/// The node has another BPF file system by now than the agent's container was given.
fn elsewhere(ours: &Path) -> Complaint {
    let place = ours.display();
    Complaint::warning(
        Fault::PinsElsewhere,
        format!(
            "{place} of the node is another BPF file system than the agent has pinned its maps on: somebody has mounted it anew, and an agent that \
             is started from now on begins with empty maps, so connections to Services break"
        ),
        "delete the agent's pod at a quiet time (kubectl --namespace kube-system delete pod), and find who mounts it anew",
    )
}

/// The first container mounts into `/sys/fs` of the node (`mountPropagation: Bidirectional`), which runtimes refuse where that is
/// not of a shared mount (`Documentation/filesystems/sharedsubtree.rst`). systemd shares all.
fn judge_sharing(mounts: &str) -> Option<Complaint> {
    let place = holder(mounts, Path::new("/sys/fs"))
        .filter(|(_, shared)| !shared)?
        .0;
    let complaint = Complaint::warning(
        Fault::SysNotShared,
        format!(
            "{place} is not a shared mount: a container could not mount a BPF file system for the node"
        ),
        "where /sys/fs/bpf is mounted already, install the chart with --set mountBpffs=false; else share the mount, as systemd does",
    );
    Some(complaint.command(format!("mount --make-shared {place}")))
}

/// The mount that a path is of, and whether it is shared, from lines of `/proc/self/mountinfo` (`man 5 proc_pid_mountinfo`).
fn holder<'a>(mounts: &'a str, path: &Path) -> Option<(&'a str, bool)> {
    let all = mounts.lines().filter_map(|line| {
        let (fields, _) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(4);
        let place = fields.next()?;
        Some((place, fields.any(|field| field.starts_with("shared:"))))
    });
    let around = all.filter(|(place, _)| path.starts_with(place));
    // Of several at one place the last hides the others.
    around.max_by_key(|(place, _)| place.len())
}

fn judge_bpffs(path: &Path, is_dir: bool, looked: Result<(), PreflightError>) -> Verdict {
    let Err(error) = looked else {
        return Verdict::fine(format!("mounted at {}", path.display()));
    };
    let place = quoted(path);
    let mount = format!("mount -t bpf bpf {place}");
    let command = if is_dir {
        mount
    } else {
        format!("mkdir -p {place} && {mount}")
    };
    Complaint::error(Fault::NoBpffs, error.to_string(), error.hint())
        .command(command)
        .into()
}

/// Whether sockets of all the node's processes can be balanced.
pub(super) fn cgroup(scene: &Scene) -> Verdict {
    let path = &scene.here.cgroup_root;
    let looked = preflight::cgroup2(path);
    if scene.before && scene.cgroup_unsaid && looked.is_ok() {
        return judge_place(path);
    }
    judge_cgroup(path, looked, preflight::mounted("cgroup2"))
}

/// Where the hierarchy is that an agent finds by itself: the chart mounts another folder unless told.
fn judge_place(path: &Path) -> Verdict {
    let text = format!("cgroup v2 at {}", path.display());
    let elsewhere = (path != Path::new(CHARTS)).then(|| {
        let place = quoted(path);
        Complaint::warning(
            Fault::NoCgroup2,
            format!("{text}, and the chart mounts {CHARTS} into the agent's container"),
            format!(
                "with the chart, say --set hostPaths.cgroup={place}, and leave config.cgroupRoot alone; an agent on the host itself \
                 finds the place; tell this check that you know: --set cgroupRoot={place}"
            ),
        )
    });
    Verdict::of(text, elsewhere)
}

fn judge_cgroup(
    path: &Path,
    looked: Result<(), PreflightError>,
    elsewhere: Option<String>,
) -> Verdict {
    let Err(error) = looked else {
        return Verdict::fine(format!("cgroup v2 at {}", path.display()));
    };
    if path.as_os_str().is_empty() {
        let complaint = Complaint::error(Fault::ContainerCgroup, error.to_string(), error.hint());
        return complaint.into();
    }
    let complaint = Complaint::error(Fault::NoCgroup2, error.to_string(), error.hint());
    match elsewhere {
        Some(elsewhere) => complaint.setting("cgroupRoot", elsewhere).into(),
        None => complaint
            .command(format!("mount -t cgroup2 none {}", quoted(path)))
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::check::Remedy;

    #[test]
    fn the_mount_that_counts_is_the_last_of_the_deepest() {
        let line = |place: &str, shared: &str| {
            format!("2 1 0:22 / {place} rw,relatime {shared}- x x rw\n")
        };
        let shared = [line("/", "shared:1 "), line("/sys", "shared:7 master:2 ")].concat();
        let below = [&shared, line("/sys/fs/bpf", "").as_str()].concat();
        let hidden = [&shared, line("/sys", "master:2 ").as_str()].concat();
        let none = [line("/", "shared:1 "), line("/sys", "")].concat();
        let root = line("/", "");
        let path = Path::new("/sys/fs");
        for (mounts, expected) in [
            (&shared, ("/sys", true)),
            (&below, ("/sys", true)),
            (&hidden, ("/sys", false)),
            (&none, ("/sys", false)),
            (&root, ("/", false)),
        ] {
            assert_eq!(holder(mounts, path), Some(expected), "{mounts}");
            assert_eq!(judge_sharing(mounts).is_some(), !expected.1);
        }
        assert_eq!(judge_sharing(""), None);
    }

    #[test]
    fn each_lack_has_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let remedy = |verdict: Verdict| {
            let [complaint] = <[Complaint; 1]>::try_from(verdict.complaints).unwrap();
            (complaint.fault, complaint.remedy)
        };
        let at = path.display();
        let mount = Remedy::Command(format!("mount -t bpf bpf {at}"));
        let found = judge_bpffs(path, true, preflight::mounted_bpffs(path));
        assert_eq!(remedy(found), (Fault::NoBpffs, Some(mount)));
        let absent = path.join("absent");
        let found = judge_bpffs(&absent, false, preflight::mounted_bpffs(&absent));
        let (_, made) = remedy(found);
        assert!(matches!(made, Some(Remedy::Command(c)) if c.starts_with("mkdir -p ")));
        let found = judge_cgroup(path, preflight::cgroup2(path), Some("/host".to_owned()));
        let set = Remedy::Setting("cgroupRoot=/host".to_owned());
        assert_eq!(remedy(found), (Fault::NoCgroup2, Some(set)));
        assert_eq!(judge_place(Path::new(CHARTS)).complaints, []);
        let elsewhere = judge_place(Path::new("/sys/fs/cgroup/unified"));
        let [complaint] = &elsewhere.complaints[..] else {
            panic!("{elsewhere:?}");
        };
        assert!(
            complaint
                .hint
                .contains("hostPaths.cgroup=/sys/fs/cgroup/unified,")
        );
        assert_eq!(
            complaint.remedy, None,
            "config.cgroupRoot would be the wrong one"
        );
        let none = Path::new("");
        let found = judge_cgroup(none, preflight::cgroup2(none), None);
        assert_eq!(remedy(found), (Fault::ContainerCgroup, None));
    }
}
