//! Where a program of the cluster runs: in the fabric's namespace or in a node's, and in whose cgroup.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::cgroups::Hierarchies;
use super::lab::{Lab, Node};
use super::shape::Shape;
use crate::run;

/// The control plane's cgroup.
pub(crate) const FABRIC_CGROUP: &str = "lab-fabric";

/// The fabric or a node.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    namespaces: Vec<(&'static str, PathBuf)>,
    cgroup: String,
    logs: PathBuf,
}

impl Place {
    /// Where the control plane is, and clients from outside the cluster.
    pub(crate) fn fabric(lab: &Lab) -> Self {
        let namespaces = vec![("net", lab.namespaces().join("fabric.net"))];
        Self {
            namespaces,
            cgroup: FABRIC_CGROUP.to_owned(),
            logs: lab.file("logs"),
        }
    }

    /// Where the control plane is, if not in the fabric: on the first node's network.
    pub(crate) fn control_plane(lab: &Lab, shape: Shape) -> Self {
        let mut place = Self::fabric(lab);
        if shape.control_plane_on_node() {
            let net = format!("{}.net", Node(1).name());
            place.namespaces = vec![("net", lab.namespaces().join(net))];
        }
        place
    }

    /// In the host's namespaces, but among the control plane's processes.
    pub(crate) fn host(lab: &Lab) -> Self {
        Self {
            namespaces: Vec::new(),
            cgroup: FABRIC_CGROUP.to_owned(),
            logs: lab.file("logs"),
        }
    }

    /// On a node, with its mounts.
    pub(crate) fn node(lab: &Lab, node: Node) -> Self {
        let held = |kind: &'static str, file: &str| {
            (
                kind,
                lab.namespaces().join(format!("{}.{file}", node.name())),
            )
        };
        let namespaces = vec![held("mount", "mnt"), held("net", "net"), held("uts", "uts")];
        Self {
            namespaces,
            cgroup: node.cgroup(),
            logs: lab.node_file(node, "logs"),
        }
    }

    /// A command that will run here. Not `ip netns exec`: that hides bpffs and the cgroups.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        if self.namespaces.is_empty() {
            return Command::new(program);
        }
        let mut command = Command::new("nsenter");
        for (kind, path) in &self.namespaces {
            command.arg(format!("--{kind}={}", path.display()));
        }
        command.arg("--").arg(program);
        command
    }

    /// Runs a shell script here.
    pub(crate) fn script(&self, script: &str) -> Result<String> {
        run::output(self.command("sh").args(["-euc", script]))
    }

    /// Starts a program that stays, in this place's cgroup, with its output in `NAME.log`.
    pub(crate) fn daemon(
        &self,
        name: &str,
        program: &Path,
        args: &[String],
        path: Option<&str>,
    ) -> Result<()> {
        fs::create_dir_all(&self.logs)?;
        let log = self.log(name);
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("cannot open {}", log.display()))?;
        let procs = Hierarchies::find()?
            .v2(&self.cgroup)
            .join("system/cgroup.procs");
        let enter = self.command(program);
        let mut command = Command::new("setsid");
        command
            .args(["sh", "-euc", "echo $$ > \"$1\"; shift; exec \"$@\"", "sh"])
            .arg(procs);
        command
            .arg(enter.get_program())
            .args(enter.get_args())
            .args(args);
        if let Some(path) = path {
            command.env("PATH", path);
        }
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .current_dir("/");
        command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(())
    }

    /// The log of a program started here.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}
