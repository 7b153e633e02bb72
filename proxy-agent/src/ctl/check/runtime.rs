//! Where the container runtime looks for plugins, by its own configuration, where that can be read.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{Complaint, Fault, Verdict, scene::Scene};
use crate::config::Cni;

/// Files of containerd, of k3s, RKE2 and `MicroK8s`, which have their own, and of CRI-O.
const FILES: [&str; 7] = [
    "/etc/containerd/config.toml",
    "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
    "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
    "/var/snap/microk8s/current/args/containerd.toml",
    "/etc/crio/crio.conf",
    "/etc/crio/crio.conf.d/10-crio.conf",
    "/etc/crio/crio.conf.d/00-default",
];

/// What a file says; empty where it says nothing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Folders {
    bin: Vec<PathBuf>,
    conf: Vec<PathBuf>,
}

/// Whether it looks where the plugin is to be.
pub(super) fn look(scene: &Scene) -> Verdict {
    let cni = &scene.config.cni;
    if !cni.install {
        return Verdict::unknown("not looked at: cni.install is off");
    }
    let read = FILES.into_iter().filter_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        Some((file, folders(&text)))
    });
    let read: Vec<(&str, Folders)> = read.collect();
    if read.is_empty() {
        return Verdict::unknown(
            "not known: no configuration of containerd or CRI-O is in sight (their own folders are /opt/cni/bin and /etc/cni/net.d); \
             proxyctl check on the node itself sees more than in a container",
        );
    }
    let files: Vec<&str> = read.iter().map(|(file, _)| *file).collect();
    let wrong = read
        .iter()
        .flat_map(|(file, folders)| judge(file, folders, (cni, &scene.here.cni)));
    Verdict::of(format!("as {} says", files.join(", ")), wrong)
}

/// `here`: the same with the paths by which we reach the agent's folders.
fn judge(file: &str, folders: &Folders, (cni, here): (&Cni, &Cni)) -> Vec<Complaint> {
    let both = [
        (
            &folders.bin,
            (&cni.bin_dir, &here.bin_dir),
            "cni.binDir",
            "plugins",
        ),
        (
            &folders.conf,
            (&cni.conf_dir, &here.conf_dir),
            "cni.confDir",
            "their configurations",
        ),
    ];
    let wrong = both.into_iter().filter(|(theirs, (ours, here), ..)| {
        let is_ours = |path: &PathBuf| path == *ours || is_same(path, here);
        !theirs.is_empty() && !theirs.iter().any(is_ours)
    });
    wrong
        .map(|(theirs, (ours, _), setting, what)| {
            let theirs: Vec<String> = theirs.iter().map(|p| p.display().to_string()).collect();
            let text = format!(
                "the runtime looks for {what} in {} ({file}), Weir puts them into {}",
                theirs.join(", "),
                ours.display()
            );
            let hint = "name the runtime's folder; the chart mounts what config.cni.binDir and config.cni.confDir name";
            let first = theirs.first().cloned().unwrap_or_default();
            Complaint::error(Fault::RuntimeLooksElsewhere, text, hint).setting(setting, first)
        })
        .collect()
}

/// Whether two paths lead to one folder: the agent's container may have the runtime's under another name.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    match (identity(one), identity(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Of the table `cni` of containerd's plugin CRI (whose name differs from version to version), or of CRI-O's `crio.network`.
fn folders(text: &str) -> Folders {
    let mut folders = Folders::default();
    let mut is_ours = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            is_ours = line.ends_with(".cni]") || line == "[crio.network]";
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| is_ours) else {
            continue;
        };
        match key.trim() {
            "bin_dir" | "bin_dirs" | "plugin_dirs" => folders.bin.extend(paths(value)),
            "conf_dir" | "network_dir" => folders.conf.extend(paths(value)),
            _ => {}
        }
    }
    folders
}

/// What is in quotes.
fn paths(value: &str) -> Vec<PathBuf> {
    let quote = |c: char| c == '"' || c == '\'';
    let parts = value.split(quote).skip(1).step_by(2);
    let parts = parts.filter(|part| !part.is_empty());
    let plain = |part: &str| -> PathBuf { Path::new(part).components().collect() };
    parts.map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containerd_of_each_version_and_crio_are_read() {
        let bin = |text: &str| folders(text).bin;
        let conf = |text: &str| folders(text).conf;
        let v1 = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\n  bin_dir = \"/a/bin\"\n  conf_dir = \"/a/net.d/\"\n\
                  [plugins.\"io.containerd.grpc.v1.cri\".registry]\n  conf_dir = \"/other\"\n";
        assert_eq!(bin(v1), [Path::new("/a/bin")]);
        assert_eq!(conf(v1), [Path::new("/a/net.d")]);
        let v3 = "[plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dir = ''\nbin_dirs = ['/b/bin', '/c/bin']\n";
        assert_eq!(bin(v3), [Path::new("/b/bin"), Path::new("/c/bin")]);
        let crio = "[crio.network]\nnetwork_dir = \"/d/net.d\"\nplugin_dirs = [\"/d/bin\"]\n# plugin_dirs = [\"/no\"]\n";
        assert_eq!(
            (bin(crio), conf(crio)),
            (vec!["/d/bin".into()], vec!["/d/net.d".into()])
        );
    }

    #[test]
    fn one_of_several_folders_is_enough() {
        let cni = Cni::default();
        let of = |bin: &[&str]| Folders {
            bin: bin.iter().map(PathBuf::from).collect(),
            conf: Vec::new(),
        };
        assert_eq!(judge("x", &of(&["/a", "/opt/cni/bin"]), (&cni, &cni)), []);
        assert_eq!(judge("x", &of(&[]), (&cni, &cni)), []);
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let here = Cni {
            bin_dir: link,
            ..Cni::default()
        };
        let theirs = of(&[folder.path().to_str().unwrap()]);
        assert_eq!(judge("x", &theirs, (&cni, &here)), [], "by another name");
        let wrong = judge("x", &of(&["/a", "/b"]), (&cni, &cni));
        assert_eq!(wrong[0].fault, Fault::RuntimeLooksElsewhere);
        assert!(wrong[0].text.contains("plugins in /a, /b (x)"), "{wrong:?}");
    }
}
