//! containerd's configuration.

use std::{fs, path::Path};

use crate::world::{Cgroup, Node};

/// Name of the sandbox image.
pub(super) const SANDBOX: &str = "local.test/pause:1";

/// The configuration of a version: its form changed with 2.
pub(super) fn text(version: &str, folder: &str, runc: &Path) -> String {
    let head = format!(
        "root = \"{folder}/root\"\nstate = \"{folder}/state\"\n\
         [grpc]\naddress = \"{folder}/c.sock\"\n[ttrpc]\naddress = \"{folder}/c.sock.ttrpc\"\n"
    );
    let runc = runc.display();
    let cri = if version == "2" {
        format!(
            r#"
[plugins."io.containerd.nri.v1.nri"]
disable = true
[plugins."io.containerd.cri.v1.images"]
snapshotter = "native"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{SANDBOX}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/run/cni/bin"]
conf_dir = "/run/cni/net.d"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"#
        )
    } else {
        format!(
            r#"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{SANDBOX}"
restrict_oom_score_adj = true
disable_tcp_service = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/run/cni/bin"
conf_dir = "/run/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"#
        )
    };
    let number = if version == "2" { 3 } else { 2 };
    format!("version = {number}\n{head}{cri}")
}

/// The node's cgroup as sandboxes name their parent, below the root of every hierarchy.
pub(super) fn cgroup_parent(node: &Node) -> String {
    let path = node.cgroup_root().path();
    let below = Cgroup::root()
        .ok()
        .and_then(|root| path.strip_prefix(root.path()).ok())
        .unwrap_or(path);
    format!("/{}/pods", below.display())
}

/// Removes the node's folders in the hierarchies of version 1, if there are any.
pub(super) fn remove_cgroups(node: &Node) {
    let parent = cgroup_parent(node);
    let below = Path::new(parent.trim_start_matches('/'));
    let own = Cgroup::root().map(|root| root.path().to_owned()).ok();
    let hierarchies = fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten();
    for hierarchy in hierarchies.map(|entry| entry.path()) {
        if Some(&hierarchy) == own.as_ref() || !hierarchy.is_dir() {
            continue;
        }
        for folder in below.ancestors().filter(|f| f.components().count() > 0) {
            // Absent, or shared with another node: whoever is last removes it.
            drop(fs::remove_dir(hierarchy.join(folder)));
        }
    }
}
