//! A node with an API server in its own network namespace, and agents that watch that.

use std::{fs::File, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, setns};

use crate::{
    controlplane::ControlPlane,
    world::{Node, Process, World, http_get, program, until},
};

/// Far beyond what any change takes.
pub const PATIENCE: Duration = Duration::from_mins(1);

const LOG: &str = "/run/agent.log";

/// Runs a scenario in the network namespace of a node `a` of a world of its own: API server and clients live
/// on the node, nothing touches the machine's own network. A failure shows the agents' log.
pub fn on_a_node(world: &str, scenario: impl AsyncFnOnce(&Node) -> Result<()>) -> Result<()> {
    let world = World::new(world)?;
    let node = world.node("a")?;
    setns(node.netns(), CloneFlags::CLONE_NEWNET)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(scenario(&node));
    result.with_context(|| {
        let log = std::fs::read_to_string(node.file(LOG)).unwrap_or_default();
        format!("log of the agents:\n{log}")
    })
}

/// Waits until the agent of a node is in step.
pub fn ready(node: &Node) -> Result<()> {
    until("the agent to be ready", PATIENCE, || {
        let (code, text) = http_get(node, ([127, 0, 0, 1], 10256).into(), "/readyz")?;
        ensure!(code == 200, "{text}");
        Ok(Some(()))
    })
}

/// What the agents of a node have said.
pub fn log(node: &Node) -> Result<String> {
    Ok(std::fs::read_to_string(node.file(LOG))?)
}

/// Starts an agent that watches the API server. Agents of one node write the same log.
pub fn start_agent(node: &Node, plane: &ControlPlane, flags: &[&str]) -> Result<Process> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(node.file(LOG))?;
    let mut command = node.command(program("proxy-agent")?)?;
    let addresses = node.addresses().map(|ip| ip.to_string()).join(",");
    command
        .args(["--node-name", node.name(), "--node-address", &addresses])
        .args(["--pod-cidr", &node.pod_ranges().join(",")])
        .args(["--map-size", "small", "--log-format", "text"])
        .arg("--kubeconfig")
        .arg(plane.kubeconfig())
        .arg("--cgroup-root")
        .arg(node.cgroup_root().path())
        .args(flags)
        .stdout(log.try_clone()?)
        .stderr(log);
    Process::start(command)
}
