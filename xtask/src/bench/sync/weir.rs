//! Weir's side of the bench.

use std::{fs::File, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use weir_world::{Process, SERVICE_CIDRS, program, until};

use super::{
    Bench, Results, changes,
    figures::{Figures, quantile},
    memory,
};

/// How long all Services may take.
const SYNC_LIMIT: Duration = Duration::from_mins(2);
/// Between two changes: so that none waits for another.
const PAUSE: Duration = Duration::from_millis(20);
/// From the arrival of a change at the agent to the end of its map writes.
const CHANGE: &str = "weir_watch_to_map_seconds";

/// Resident bytes of an agent that has listed an empty cluster and come to rest.
pub(super) fn idle(bench: &Bench<'_>) -> Result<f64> {
    let agent = start(bench, "idle")?;
    let bytes = memory::steady(agent.id())?;
    agent.terminate()?;
    Ok(bytes)
}

/// Measures a start with all objects there, then single changes.
pub(super) fn measure(bench: &Bench<'_>, idle: f64) -> Result<Results> {
    let agent = start(bench, "full")?;
    let bytes = memory::steady(agent.id())?;
    let peak = memory::peak(agent.id())?;
    let first = Figures::read(bench.node)?;
    let sync = first
        .value("weir_first_sync_seconds")
        .context("the agent has no first sync")?;
    let before = first.buckets(CHANGE);
    changes::make(bench, 0..bench.args.changes, PAUSE)?;
    let after = Figures::read(bench.node)?.buckets(CHANGE);
    let changed = memory::steady(agent.id())?;
    agent.terminate()?;
    let per_service = |bytes: f64| (bytes - idle) / f64::from(bench.args.services);
    Ok(Results {
        path: "weir",
        figures: vec![
            ("lists_to_maps_seconds", sync),
            ("change_p50_seconds", quantile(&before, &after, 0.5)),
            ("change_p90_seconds", quantile(&before, &after, 0.9)),
            ("change_p99_seconds", quantile(&before, &after, 0.99)),
            ("memory_idle_bytes", idle),
            ("memory_bytes", bytes),
            ("memory_peak_bytes", peak),
            ("memory_bytes_per_service", per_service(bytes)),
            ("memory_bytes_per_service_changed", per_service(changed)),
        ],
    })
}

fn start(bench: &Bench<'_>, instance: &str) -> Result<Process> {
    let node = bench.node;
    let log_path = node.file(&format!("/run/agent-{instance}.log"));
    let log = File::create(&log_path)?;
    let mut command = node.command(program("proxy-agent")?)?;
    command
        .args(["--node-name", node.name(), "--instance", instance])
        .arg("--kubeconfig")
        .arg(bench.api.kubeconfig())
        .arg("--cgroup-root")
        .arg(node.cgroup_root().path())
        .args(["--service-cidr", SERVICE_CIDRS])
        .args(["--cni-install", "false", "--log-format", "text"])
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
        let first = figures.and_then(|figures| figures.value("weir_first_sync_seconds"));
        Ok(first.filter(|seconds| *seconds > 0.0).map(drop))
    })?;
    Ok(process)
}
