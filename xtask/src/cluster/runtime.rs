//! containerd and runc on a node.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::lab::{Lab, Node};
use super::place::Place;
use super::wait;
use crate::run;
use crate::tools::debian::Suite;

/// The sandbox image, pinned.
pub(crate) const SANDBOX: &str = "registry.k8s.io/pause:3.10.2";
/// Where containerd listens on every node.
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";

/// The programs of a runtime.
#[derive(Debug)]
pub(crate) struct Runtime {
    containerd: PathBuf,
    runc: PathBuf,
}

impl Runtime {
    /// containerd 2, which kubelet 1.36 needs, and the runc that runs on an old libc.
    pub(crate) fn find() -> Result<Self> {
        Ok(Self {
            containerd: Suite::Sid.unpack("containerd", "2.")?.join("usr/bin"),
            runc: Suite::Bookworm.unpack("runc", "1.1.")?.join("usr/sbin"),
        })
    }

    /// Starts containerd on a node and returns when it answers.
    pub(crate) fn start(&self, lab: &Lab, node: Node) -> Result<()> {
        let place = Place::node(lab, node);
        let config = lab.node_file(node, "containerd.toml");
        Lab::write(&config, &self.config())?;
        let path = format!(
            "{}:{}:{}",
            self.containerd.display(),
            self.runc.display(),
            SYSTEM_PATH
        );
        let args = ["--config".to_owned(), config.display().to_string()];
        place.daemon(
            "containerd",
            &self.containerd.join("containerd"),
            &args,
            Some(&path),
        )?;
        wait::until("containerd", || {
            Ok(self.ctr(&place).arg("version").output()?.status.success())
        })
        .with_context(|| {
            format!(
                "end of its log:\n{}",
                run::tail(&place.log("containerd")).unwrap_or_default()
            )
        })
    }

    /// Imports an image archive.
    pub(crate) fn import(&self, lab: &Lab, node: Node, archive: &Path) -> Result<()> {
        let mut ctr = self.ctr(&Place::node(lab, node));
        ctr.args(["--namespace", "k8s.io", "images", "import", "--local"])
            .arg(archive);
        run::output(&mut ctr)
            .with_context(|| format!("cannot import {} on {}", archive.display(), node.name()))?;
        Ok(())
    }

    fn ctr(&self, place: &Place) -> std::process::Command {
        let mut command = place.command(self.containerd.join("ctr"));
        command.args(["--address", SOCKET]);
        command
    }

    fn config(&self) -> String {
        let runc = self.runc.join("runc");
        format!(
            r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "{SOCKET}"
[ttrpc]
address = "{SOCKET}.ttrpc"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{SANDBOX}"
[plugins."io.containerd.cri.v1.runtime"]
# Without CAP_SYS_RESOURCE runc cannot lower a score, and every sandbox would fail.
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/opt/cni/bin"]
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{}"
SystemdCgroup = false
[plugins."io.containerd.nri.v1.nri"]
disable = true
"#,
            runc.display()
        )
    }
}

const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
