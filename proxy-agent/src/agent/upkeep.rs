//! What is done from time to time beside the main loop: counting entries, flows, drops and addresses.

use std::{sync::Arc, time::Duration};

use proxy_common::counters::reason_name;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{address_count, flow_count};
use crate::{
    api::{
        Shared,
        messages::MapStatus,
        metrics::{Metrics, Reason, Verdict},
    },
    config::maps::look_at_memory,
    datapath::Maps,
};

/// How often the maps' entries are counted.
const COUNT_PERIOD: Duration = Duration::from_secs(15);
/// How long one round may take.
const ROUND_LIMIT: Duration = Duration::from_secs(30);

/// Begins the rounds; they end with the runtime.
pub fn spawn(shared: &Arc<Shared>, maps: &Maps) -> JoinHandle<()> {
    let (shared, maps) = (Arc::clone(shared), maps.clone());
    let pulse = shared.watchdog.register("rounds of counting");
    let counting = shared.watchdog.work("counting of entries", ROUND_LIMIT);
    pulse.spawn(async move {
        let mut ticks = interval(COUNT_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (shared, maps) = (Arc::clone(&shared), maps.clone());
            // Thousands of system calls, and all flows: not on a thread that serves.
            if let Err(error) = counting.spawn(move || count(&shared, &maps)).await
                && !error.is_cancelled()
            {
                tracing::error!(%error, "upkeep failed");
            }
        }
    })
}

/// Counts entries, flows, drops and addresses. Reads files of the plugin and of the machine.
fn count(shared: &Shared, maps: &Maps) {
    look_at_memory();
    address_count::count(shared);
    count_entries(shared, maps);
    count_drops(shared, maps);
}

/// Counts entries and flows.
pub fn count_entries(shared: &Shared, maps: &Maps) {
    let flows = flow_count::count(shared, maps);
    match maps.usage_beside(flows) {
        Err(error) => tracing::warn!(%error, "entries not counted"),
        Ok(usage) => shared.set_maps(usage.into_iter().map(|map| MapStatus {
            name: map.name,
            kind: map.kind.to_owned(),
            entries: map.entries.map(u64::from),
            max_entries: u64::from(map.max_entries),
        })),
    }
}

fn count_drops(shared: &Shared, maps: &Maps) {
    match maps.drops.all() {
        Err(error) => tracing::warn!(%error, "drops not counted"),
        Ok(drops) => {
            for (reason, counter) in drops {
                let labels = Reason::new(reason_name(reason));
                let metrics = &shared.metrics;
                Metrics::raise(&metrics.drops.get_or_create(&labels), counter.packets);
                Metrics::raise(&metrics.drop_bytes.get_or_create(&labels), counter.bytes);
            }
        }
    }
    match maps.drops.xdp() {
        Err(error) => tracing::warn!(%error, "frames of XDP not counted"),
        Ok(verdicts) => {
            for (verdict, counter) in verdicts {
                let series = shared
                    .metrics
                    .xdp_frames
                    .get_or_create(&Verdict::new(verdict));
                Metrics::raise(&series, counter.packets);
            }
        }
    }
}
