//! The agent, as a process on a node.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{node::Node, process::Process, programs::program, until};

/// How the agent of a node is started.
#[derive(Clone, Debug, Default)]
pub struct AgentOptions {
    /// Flags after the fixture's own.
    pub flags: Vec<String>,
}

/// A running `proxy-agent` that reads a folder of manifests.
pub struct Agent {
    node: Node,
    manifests: PathBuf,
    options: AgentOptions,
    process: Option<Process>,
    folder: Option<TempDir>,
}

impl Agent {
    /// Starts the agent of `node` with manifests of its own, and waits until it is healthy.
    pub fn start(node: &Node, options: AgentOptions) -> Result<Self> {
        let folder = TempDir::with_prefix("weir-manifests-").context("make a manifests folder")?;
        let mut agent = Self::watching(node, folder.path().to_owned(), options)?;
        agent.folder = Some(folder);
        Ok(agent)
    }

    /// As [`Agent::start`], with a folder that somebody else owns (shared by the agents of several nodes).
    pub fn watching(node: &Node, manifests: PathBuf, options: AgentOptions) -> Result<Self> {
        let mut agent = Self {
            node: node.clone(),
            manifests,
            options,
            process: None,
            folder: None,
        };
        agent.run()?;
        Ok(agent)
    }

    fn run(&mut self) -> Result<()> {
        let mut command = self.node.command(program("proxy-agent")?)?;
        command
            .arg("--node-name")
            .arg(self.node.name())
            .arg("--manifests")
            .arg(&self.manifests)
            .arg("--cgroup-root")
            .arg(self.node.cgroup_root().path())
            .args(&self.options.flags);
        self.process = Some(Process::start(command)?);
        self.await_healthy()
    }

    fn await_healthy(&mut self) -> Result<()> {
        let Self {
            node,
            manifests: _,
            options: _,
            process,
            folder: _,
        } = self;
        let process = process.as_mut().context("agent was not started")?;
        until("the agent to be healthy", Duration::from_secs(20), || {
            if let Some(status) = process.ended()? {
                anyhow::bail!("the agent ended: {status}");
            }
            let health =
                super::server::http_status(node, ([127, 0, 0, 1], 10256).into(), "/healthz");
            Ok((health.ok() == Some(200)).then_some(()))
        })
    }

    /// Puts a manifest in place (whole at once, by rename) or replaces it.
    pub fn apply(&self, name: &str, yaml: &str) -> Result<()> {
        let hidden = self.manifests.join(format!(".{name}"));
        fs::write(&hidden, yaml).with_context(|| format!("write {}", hidden.display()))?;
        fs::rename(&hidden, self.manifests.join(name)).context("rename manifest")
    }

    /// Takes a manifest away.
    pub fn remove(&self, name: &str) -> Result<()> {
        fs::remove_file(self.manifests.join(name)).with_context(|| format!("remove {name}"))
    }

    /// Kills the agent as a crash would.
    pub fn crash(&mut self) -> Result<()> {
        self.process.take().context("agent is not running")?.crash()
    }

    /// Starts it again after [`Agent::crash`].
    pub fn restart(&mut self) -> Result<()> {
        self.run()
    }

    /// Runs `proxyctl` on the node and gives its standard output.
    pub fn proxyctl(&self, words: &[&str]) -> Result<String> {
        let path = program("proxyctl")?;
        let path = path.to_str().context("path of proxyctl")?;
        self.node.run(&[&[path], words].concat())
    }
}
