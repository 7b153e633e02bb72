//! A real containerd on a node of a world, spoken to as the kubelet does (CRI).
//!
//! Versions lie side by side in the cache, put there by `cargo xtask setup containerd`.

mod config;
mod grpc;
mod image;

pub mod cri;

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    controlplane::cache,
    world::{Node, Process, until},
};

/// Versions that are tested: the folder in the cache.
pub const VERSIONS: [&str; 3] = ["1.6", "1.7", "2"];

/// Folder inside the node where all of containerd's files are; gone with the node's `/run`.
const FOLDER: &str = "/run/ctrd";

/// A running containerd.
pub struct Containerd {
    version: &'static str,
    node: Node,
    process: Option<Process>,
}

fn is_shim(id: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    name.starts_with("containerd-shim")
}

fn package(name: &str) -> Result<PathBuf> {
    let folder = cache::folder().map_err(anyhow::Error::msg)?;
    let path = folder.join("debian").join(name);
    ensure!(
        path.is_dir(),
        "{} is absent: run `cargo xtask setup containerd`",
        path.display()
    );
    Ok(path)
}

impl Containerd {
    /// Starts a version on a node, with the folders of plugins and configurations that the agent installs
    /// to, and imports the sandbox image.
    pub fn start(node: &Node, version: &'static str) -> Result<Self> {
        // What libcni remembers has a fixed place on disk.
        node.run(&["mount", "-t", "tmpfs", "tmpfs", "/var/lib"])?;
        node.run(&["mkdir", "-p", FOLDER, "/run/cni/net.d", "/run/cni/bin"])?;
        let mut containerd = Self {
            version,
            node: node.clone(),
            process: None,
        };
        containerd.restart()?;
        containerd.import()?;
        Ok(containerd)
    }

    /// Starts it (again, after [`Self::crash`]).
    pub fn restart(&mut self) -> Result<()> {
        let runc = package("runc-1.1")?.join("usr/sbin");
        let config = config::text(self.version, FOLDER, &runc.join("runc"));
        fs::write(self.node.file(&format!("{FOLDER}/config.toml")), config)?;
        let path = format!(
            "{}:{}:/usr/sbin:/usr/bin:/sbin:/bin",
            self.bin()?.display(),
            runc.display()
        );
        let log = File::create(self.log_path()).context("create containerd's log")?;
        let mut command = self.node.command(self.bin()?.join("containerd"))?;
        command
            .env("PATH", path)
            .args(["--config", &format!("{FOLDER}/config.toml")])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.process = Some(Process::start(command)?);
        let process = self.process.as_mut().context("not started")?;
        let client = self.node.file(&format!("{FOLDER}/c.sock"));
        until("containerd to answer", Duration::from_secs(30), || {
            if let Some(status) = process.ended()? {
                return Ok(Some(Err(anyhow!("containerd ended: {status}"))));
            }
            let status = cri::Client::new(client.clone()).status();
            Ok(status.is_ok().then_some(Ok(())))
        })?
        .with_context(|| self.log())
    }

    /// Kills it on the spot.
    pub fn crash(&mut self) -> Result<()> {
        self.process
            .take()
            .context("containerd is not running")?
            .crash()
    }

    /// The CRI.
    pub fn cri(&self) -> cri::Client {
        cri::Client::new(self.node.file(&format!("{FOLDER}/c.sock")))
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.node.file(&format!("{FOLDER}/log"))
    }

    fn bin(&self) -> Result<PathBuf> {
        Ok(package(&format!("containerd-{}", self.version))?.join("usr/bin"))
    }

    /// Shims and what they hold go on without containerd.
    fn end_shims(&self) {
        let all = self.node.cgroup_root().processes();
        for id in all.into_iter().filter(|id| is_shim(*id)) {
            // It may have ended by itself.
            kill(Pid::from_raw(id), Signal::SIGKILL).ok();
        }
    }

    fn import(&self) -> Result<()> {
        let busybox = package("busybox-static-bookworm")?;
        let archive = self.node.file(&format!("{FOLDER}/pause.tar"));
        image::write(&archive, &busybox.join("bin/busybox"), config::SANDBOX)?;
        let ctr = self.bin()?.join("ctr");
        let (ctr, socket) = (ctr.display().to_string(), format!("{FOLDER}/c.sock"));
        let archive = format!("{FOLDER}/pause.tar");
        let mut words = vec![&*ctr, "-a", &socket, "-n", "k8s.io", "images", "import"];
        // What containerd 2 does by itself does not mark the image as one of the CRI's.
        words.extend((self.version == "2").then_some("--local"));
        words.push(&archive);
        self.node.run(&words).context("import the sandbox image")?;
        Ok(())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.process.take().map(Process::terminate));
        self.end_shims();
        // runc has made cgroups of version 1 beside the node's, which nobody else removes.
        config::remove_cgroups(&self.node);
    }
}
