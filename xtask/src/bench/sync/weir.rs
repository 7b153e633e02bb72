//! Weir's side of the bench.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Bench, Results, changes};
use crate::bench::{
    agent,
    figures::{Figures, quantile},
    memory,
};

/// Between two changes: so that none waits for another.
const PAUSE: Duration = Duration::from_millis(20);

/// Resident bytes of an agent that has listed an empty cluster and come to rest.
pub(super) fn idle(bench: &Bench<'_>) -> Result<f64> {
    let agent = agent::start(bench.node, bench.api, &["--instance", "idle"])?;
    let bytes = memory::steady(agent.id())?;
    agent.terminate()?;
    Ok(bytes)
}

/// Measures a start with all objects there, then single changes.
pub(super) fn measure(bench: &Bench<'_>, idle: f64) -> Result<Results> {
    let agent = agent::start(bench.node, bench.api, &["--instance", "full"])?;
    let bytes = memory::steady(agent.id())?;
    let peak = memory::peak(agent.id())?;
    let first = Figures::read(bench.node)?;
    let sync = first
        .value(agent::FIRST_SYNC)
        .context("the agent has no first sync")?;
    let before = first.buckets(agent::CHANGE);
    changes::make(bench, 0..bench.args.changes, PAUSE)?;
    let after = Figures::read(bench.node)?.buckets(agent::CHANGE);
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
