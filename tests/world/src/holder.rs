//! A process that keeps the namespaces of a node.
//!
//! It waits on a pipe from us: when we end, however we end, it ends and the namespaces with it.
#![expect(unsafe_code, reason = "between fork and exec")]

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{cgroup::Cgroup, place::Place};

/// What the process does inside its new namespaces before it waits.
const SCRIPT: &str = include_str!("node.sh");

/// Network, mount and uts namespaces, alive until dropped.
pub(super) struct Holder {
    child: Child,
}

impl Holder {
    /// Makes the namespaces, with `name` as host name, and the holder inside `cgroup`.
    pub(super) fn start(name: &str, cgroup: &Cgroup) -> Result<Self> {
        let procs = File::options()
            .write(true)
            .open(cgroup.path().join("cgroup.procs"))
            .context("open cgroup.procs")?;
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--mount", "--uts", "--propagation", "private"])
            .args(["sh", "-ec", SCRIPT, "sh", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // SAFETY: between fork and exec the closure only writes to an open file.
        unsafe { command.pre_exec(move || super::fork::join_cgroup(&procs)) };
        let child = command.spawn().context("start unshare (util-linux)")?;
        let mut holder = Self { child };
        holder.await_ready()?;
        Ok(holder)
    }

    fn await_ready(&mut self) -> Result<()> {
        let out = self.child.stdout.take().context("holder has no stdout")?;
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .context("read from the holder")?;
        ensure!(
            line == "ready\n",
            "setting up namespaces failed (see stderr): {line:?}"
        );
        Ok(())
    }

    /// Process id of the holder: names its netns to `ip`.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A file as seen inside the mount namespace.
    pub(super) fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.child.id()))
    }

    /// The namespaces as a place whose sockets and processes belong to `cgroup`.
    pub(super) fn place(&self, cgroup: Cgroup) -> Result<Place> {
        Place::new(
            &self.namespace("net"),
            &self.namespace("mnt"),
            &self.namespace("uts"),
            cgroup,
        )
    }

    /// The file of one namespace, kind as in /proc.
    pub(super) fn namespace(&self, kind: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/{kind}", self.child.id()))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Dead already when its cgroup was killed first: both errors then mean that it is gone.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
