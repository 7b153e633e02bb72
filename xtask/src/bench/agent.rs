//! An agent that follows a real API server.

use std::{fs::File, process::Stdio, time::Duration};

use anyhow::{Result, bail};
use weir_world::{Node, Process, SERVICE_CIDRS, program, until};

use super::{api::Api, figures::Figures};

/// How long all objects may take.
const SYNC_LIMIT: Duration = Duration::from_mins(2);
/// Histogram: from the arrival of a change at the agent to the end of its map writes.
pub(crate) const CHANGE: &str = "weir_watch_to_map_seconds";
/// Gauge: from complete lists to complete maps.
pub(crate) const FIRST_SYNC: &str = "weir_first_sync_seconds";

/// Starts the agent of `node` with more flags, and waits until it is in step.
pub(crate) fn start(node: &Node, api: &Api, flags: &[&str]) -> Result<Process> {
    let log_path = node.file("/run/agent.log");
    let log = File::create(&log_path)?;
    let mut command = node.command(program("proxy-agent")?)?;
    command
        .args(["--node-name", node.name()])
        .arg("--kubeconfig")
        .arg(api.kubeconfig())
        .arg("--cgroup-root")
        .arg(node.cgroup_root().path())
        .args(["--service-cidr", SERVICE_CIDRS])
        .args(["--cni-install", "false", "--log-format", "text"])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let mut process = Process::start(command)?;
    until("the agent to be in step", SYNC_LIMIT, || {
        if let Some(status) = process.ended()? {
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            bail!("the agent ended: {status}\n{log}");
        }
        // Refused until it listens.
        let figures = Figures::read(node).ok();
        let first = figures.and_then(|figures| figures.value(FIRST_SYNC));
        Ok(first.filter(|seconds| *seconds > 0.0).map(drop))
    })?;
    Ok(process)
}
