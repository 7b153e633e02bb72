//! Where a program of the cluster runs: in the fabric's namespace or in a node's, and in whose cgroup.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::cgroups::Hierarchies;
use super::lab::{Lab, Node};
use super::shape::Shape;
use super::wait;
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
        let mut enter = self.command(program);
        enter.args(args);
        let inside = self.inside(&enter)?;
        let mut command = Command::new("setsid");
        command.arg(inside.get_program()).args(inside.get_args());
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

    /// The processes of that name that were started here.
    pub(crate) fn daemons(&self, name: &str) -> Result<Vec<Pid>> {
        let procs = self.procs()?;
        let pids = fs::read_to_string(&procs)
            .with_context(|| format!("cannot read {}", procs.display()))?;
        let named = |pid: &&str| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
            comm.is_ok_and(|comm| comm.trim() == name)
        };
        let pids = pids.lines().filter(named).map(str::parse);
        Ok(pids
            .collect::<Result<Vec<i32>, _>>()?
            .into_iter()
            .map(Pid::from_raw)
            .collect())
    }

    /// Ends the programs of that name that were started here, and waits until they are gone.
    pub(crate) fn stop(&self, name: &str) -> Result<()> {
        let pids = self.daemons(name)?;
        for pid in &pids {
            kill(*pid, Signal::SIGTERM).with_context(|| format!("cannot end {name} ({pid})"))?;
        }
        wait::until(&format!("the end of {name}"), || {
            // Of our own child something stays until it is asked for; of others' there is none to ask for (ECHILD).
            let asked = pids
                .iter()
                .map(|pid| waitpid(*pid, Some(WaitPidFlag::WNOHANG)));
            let running = asked.filter(|it| matches!(it, Ok(WaitStatus::StillAlive)));
            Ok(running.count() == 0 && self.daemons(name)?.is_empty())
        })
    }

    fn procs(&self) -> Result<PathBuf> {
        let own = Hierarchies::find()?.v2(&self.cgroup);
        Ok(own.join("system/cgroup.procs"))
    }

    /// A command that will run here, among this place's processes: their programs see where it connects.
    pub(crate) fn inside(&self, command: &Command) -> Result<Command> {
        let mut inside = Command::new("sh");
        inside
            .args(["-euc", "echo $$ > \"$1\"; shift; exec \"$@\"", "sh"])
            .arg(self.procs()?)
            .arg(command.get_program())
            .args(command.get_args());
        Ok(inside)
    }

    /// The log of a program started here.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}
