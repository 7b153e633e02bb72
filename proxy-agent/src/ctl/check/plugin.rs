//! Where the plugin is, or is to be.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    sys::statvfs::{FsFlags, statvfs},
    unistd::{AccessFlags, access},
};
use sha2::{Digest as _, Sha256};

use super::{Complaint, Fault, Verdict, finding::quoted, scene::Scene, wiring};
use crate::{
    config::Cni,
    node::install::{self, PLUGIN},
};

/// Whether the folders of plugin and configuration can be used.
pub(super) fn folders(scene: &Scene) -> Verdict {
    let cni = &scene.here.cni;
    if !cni.install {
        return Verdict::unknown("not looked at: cni.install is off");
    }
    let bin = folder(&cni.bin_dir, "cni.binDir");
    let programs = may_run(&cni.bin_dir);
    let conf = folder(&cni.conf_dir, "cni.confDir");
    let text = format!("{} and {}", cni.bin_dir.display(), cni.conf_dir.display());
    Verdict::of(text, [bin, programs, conf].into_iter().flatten())
}

/// The folder, or the nearest above it that is there: what is not there is made.
fn nearest(folder: &Path) -> PathBuf {
    let mut above = folder.ancestors();
    let found = above.find(|path| path.exists());
    found.unwrap_or(Path::new("/")).to_owned()
}

fn folder(path: &Path, setting: &str) -> Option<Complaint> {
    let there = nearest(path);
    let error = access(&there, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
    Some(read_only(path, setting, &there, &error.into()))
}

fn read_only(path: &Path, setting: &str, there: &Path, error: &io::Error) -> Complaint {
    let text = format!("{setting}: write to {}: {}", there.display(), error);
    let hint = format!(
        "where the platform keeps {} read-only its runtime looks elsewhere: docs/platforms.md has the folders; else make it writable",
        path.display()
    );
    let complaint = Complaint::error(Fault::CniFolderReadOnly, text, hint);
    match error.raw_os_error() {
        // What is mounted in the agent's container cannot be mounted anew from here.
        Some(libc::EROFS) if !there.starts_with("/proc") => complaint.command(remount("rw", there)),
        _ => complaint,
    }
}

fn may_run(path: &Path) -> Option<Complaint> {
    let there = nearest(path);
    let forbids = statvfs(&there).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_NOEXEC));
    forbids.then(|| {
        let complaint = Complaint::error(
            Fault::CniFolderNoexec,
            format!(
                "{} is mounted noexec: the runtime cannot run plugins there",
                there.display()
            ),
            "mount it without noexec, or name another folder to the runtime and in cni.binDir",
        );
        if there.starts_with("/proc") {
            return complaint;
        }
        complaint.command(remount("exec", &there))
    })
}

/// The mount that a folder is on, mounted with an option anew.
pub(super) fn remount(option: &str, folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    format!(
        "mount -o remount,{option} {}",
        quoted(&mount_of(&mounts, folder))
    )
}

/// By the text of `/proc/mounts`.
fn mount_of(mounts: &str, folder: &Path) -> PathBuf {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let above = points
        .map(Path::new)
        .filter(|point| folder.starts_with(point));
    let nearest = above.max_by_key(|point| point.as_os_str().len());
    nearest.unwrap_or(folder).to_owned()
}

/// Whether the plugin is installed, and is ours.
pub(super) fn installed(scene: &Scene) -> Verdict {
    let cni = &scene.here.cni;
    if !cni.install {
        return Verdict::unknown("not looked at: cni.install is off");
    }
    judge(cni, scene.wiring.as_ref().is_some_and(wiring::is_broken))
}

/// Of these folders. One that is `broken` is told as such; that it also differs says nothing more.
pub(in crate::ctl) fn judge(cni: &Cni, broken: bool) -> Verdict {
    let (plugin, conflist) = (cni.bin_dir.join(PLUGIN), cni.conf_dir.join(&cni.conf_file));
    let missing = [&plugin, &conflist]
        .into_iter()
        .filter(|path| !path.exists());
    let missing: Vec<String> = missing.map(|path| path.display().to_string()).collect();
    if !missing.is_empty() {
        let text = format!("{} is not there", missing.join(", "));
        let hint = "the agent installs it when it is ready, and again within seconds where it is taken away: its log says why not";
        return Complaint::error(Fault::PluginMissing, text, hint).into();
    }
    let ours = install::source(&cni.plugin)
        .ok()
        .filter(|path| path.exists());
    let differs = ours.filter(|ours| !broken && !is_same(ours, &plugin)).map(|ours| {
        let text = format!("{} is another version than {}", plugin.display(), ours.display());
        let hint = "the agent installs its own when it begins: is it of another version than this proxyctl? restart it";
        Complaint::warning(Fault::PluginDiffers, text, hint)
    });
    Verdict::of(
        format!("{} and {}", plugin.display(), conflist.display()),
        differs,
    )
}

fn is_same(one: &Path, other: &Path) -> bool {
    let digest = |path: &Path| fs::read(path).map(Sha256::digest);
    match (digest(one), digest(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_is_there_and_ours() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let cni = Cni {
            bin_dir: folder.path().to_owned(),
            conf_dir: folder.path().to_owned(),
            plugin: at("source"),
            ..Cni::default()
        };
        let faults = || -> Vec<Fault> {
            judge(&cni, false)
                .complaints
                .into_iter()
                .map(|c| c.fault)
                .collect()
        };
        assert_eq!(faults(), [Fault::PluginMissing]);
        for name in [PLUGIN, "source", &cni.conf_file] {
            fs::write(at(name), "one").unwrap();
        }
        assert_eq!(faults(), []);
        fs::write(at("source"), "two").unwrap();
        assert_eq!(faults(), [Fault::PluginDiffers]);
        assert_eq!(judge(&cni, true).complaints, [], "told by another check");
    }

    #[test]
    fn a_folder_is_on_the_nearest_mount() {
        let mounts =
            "a / ext4 rw 0 0\nb /opt ext4 ro 0 0\nc /opt/cni tmpfs rw 0 0\nd /optimum x rw 0 0\n";
        let of = |folder: &str| mount_of(mounts, Path::new(folder));
        assert_eq!(of("/opt/cni/bin"), Path::new("/opt/cni"));
        assert_eq!(of("/opt/other"), Path::new("/opt"));
        assert_eq!(of("/optic"), Path::new("/"));
        assert_eq!(
            nearest(Path::new("/proc/self/absent/x")),
            Path::new("/proc/self")
        );
    }
}
