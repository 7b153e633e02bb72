//! The agent, as a process on a node.

use std::{
    fs::File,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::{
    http::http_get, leak, leftover, manifests::Manifests, node::Node, process::Process,
    programs::program, until,
};

/// Service ranges of every world.
pub const SERVICE_CIDRS: &str = "10.96.0.0/16,fd00:10:96::/112";

/// A running `proxy-agent` that reads a folder of manifests.
pub struct Agent {
    // Ends before its node.
    process: Option<Process>,
    node: Node,
    manifests: Manifests,
    flags: Vec<String>,
    /// Those of another version; none: ours.
    programs: Option<Programs>,
    log: PathBuf,
}

/// The programs of a version.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `proxy-agent`.
    pub agent: PathBuf,
    /// `cni-plugin`.
    pub plugin: PathBuf,
    /// Flags that this version needs beside those of all.
    pub flags: Vec<String>,
}

impl Agent {
    /// Starts the agent of `node` with more flags, and waits until it is healthy.
    pub fn start(node: &Node, manifests: &Manifests, flags: &[&str]) -> Result<Self> {
        Self::start_version(node, manifests, flags, None)
    }

    /// As [`Agent::start`], of another version.
    pub fn start_version(
        node: &Node,
        manifests: &Manifests,
        flags: &[&str],
        programs: Option<Programs>,
    ) -> Result<Self> {
        manifests.node(node)?;
        let mut agent = Self {
            process: None,
            node: node.clone(),
            manifests: manifests.clone(),
            flags: flags.iter().map(ToString::to_string).collect(),
            programs,
            log: node.file("/run/agent.log"),
        };
        agent.restart()?;
        Ok(agent)
    }

    /// What it is told from now on, in place of the flags that it was started with.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(ToString::to_string).collect();
    }

    /// Which version is started from now on; none: ours.
    pub fn set_version(&mut self, programs: Option<Programs>) {
        self.programs = programs;
    }

    /// Our `proxy-agent` with a verb, once the agent is down.
    pub fn verb(&self, words: &[&str]) -> Result<Process> {
        let log = self.open_log()?;
        let mut command = self.node.command(program("proxy-agent")?)?;
        self.describe(&mut command);
        command
            .args(words)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Process::start(command)
    }

    fn open_log(&self) -> Result<File> {
        File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("open {}", self.log.display()))
    }

    /// The flags that every version knows.
    fn describe(&self, command: &mut Command) {
        command
            .args(["--node-name", self.node.name()])
            .arg("--manifests")
            .arg(self.manifests.path())
            .arg("--cgroup-root")
            .arg(self.node.cgroup_root().path())
            .args(["--pod-cidr", &self.node.pod_ranges().join(",")])
            .args(["--service-cidr", SERVICE_CIDRS])
            .args(["--log-format", "text"]);
        // One that is told otherwise, or nothing (`--node-address=`), goes by its Node.
        if !self
            .flags
            .iter()
            .any(|flag| flag.starts_with("--node-address"))
        {
            command.args(["--node-address", &joined(&self.node.addresses())]);
        }
    }

    /// Starts it (again, after [`Agent::crash`]).
    pub fn restart(&mut self) -> Result<()> {
        self.process = Some(Process::start(self.command(&[])?)?);
        self.await_healthy()
            .with_context(|| format!("log of the agent on {}:\n{}", self.node.name(), self.log()))
    }

    /// What starts it; `by` another program, which is told the agent's program and arguments after its own.
    pub fn command(&self, by: &[&str]) -> Result<Command> {
        let log = self.open_log()?;
        let (agent, plugin, flags) = match &self.programs {
            Some(Programs {
                agent,
                plugin,
                flags,
            }) => (agent.clone(), plugin.clone(), flags.clone()),
            None => (program("proxy-agent")?, program("cni-plugin")?, Vec::new()),
        };
        let mut command = match by.split_first() {
            None => self.node.command(agent)?,
            Some((other, words)) => {
                let mut command = self.node.command(other)?;
                command.args(words).arg(agent);
                command
            }
        };
        self.describe(&mut command);
        command
            .args(["--cni-install", "true", "--cni-bin-dir", "/run/cni/bin"])
            .args(["--cni-conf-dir", "/run/cni/net.d", "--cni-plugin"])
            .arg(plugin)
            .args(flags)
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    fn await_healthy(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("agent was not started")?;
        let node = &self.node;
        until("the agent to be healthy", Duration::from_mins(1), || {
            if let Some(status) = process.ended()? {
                return Ok(Some(Err(anyhow!("the agent ended: {status}"))));
            }
            // Refused until it listens, 503 until it is in step.
            let health = http_get(node, ([127, 0, 0, 1], 10256).into(), "/readyz");
            Ok(health.is_ok_and(|(code, _)| code == 200).then_some(Ok(())))
        })?
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string())
    }

    /// Process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Kills it as a crash would.
    pub fn crash(&mut self) -> Result<()> {
        self.process.take().context("agent is not running")?.crash()
    }

    /// Asks it to end, and waits.
    pub fn terminate(&mut self) -> Result<()> {
        let process = self.process.take().context("agent is not running")?;
        process.terminate().map(drop)
    }

    fn nothing_left(&mut self) -> Result<()> {
        if let Some(status) = self
            .process
            .as_mut()
            .map(Process::ended)
            .transpose()?
            .flatten()
        {
            bail!(
                "the agent of {} had ended: {status}\n{}",
                self.node.name(),
                self.log()
            );
        }
        leftover::nothing_of_pods(&self.node, self)
    }

    /// Runs `proxyctl` on the node and gives its standard output; works with the agent down, too.
    pub fn proxyctl(&self, words: &[&str]) -> Result<String> {
        let (code, output) = self.proxyctl_verdict(words)?;
        ensure!(
            code == 0,
            "proxyctl {}: code {code}: {output}",
            words.join(" ")
        );
        Ok(output)
    }

    /// As [`Agent::proxyctl`], where the exit code is part of the answer (1: denied, not well, differs).
    pub fn proxyctl_verdict(&self, words: &[&str]) -> Result<(i32, String)> {
        let done = self
            .node
            .command(program("proxyctl")?)?
            .args(words)
            .stdin(Stdio::null())
            .output()
            .context("run proxyctl")?;
        let mut output = String::from_utf8_lossy(&done.stdout).into_owned();
        output.push_str(&String::from_utf8_lossy(&done.stderr));
        Ok((done.status.code().context("proxyctl was killed")?, output))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Without an agent, what pods leave waits for the next one.
        if self.process.is_some() && !std::thread::panicking() {
            leak::report(self.nothing_left());
        }
    }
}

fn joined<T: ToString>(items: &[T]) -> String {
    let words: Vec<String> = items.iter().map(ToString::to_string).collect();
    words.join(",")
}
