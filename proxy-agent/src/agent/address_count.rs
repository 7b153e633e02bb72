//! Counts the addresses of pods, for the metrics, as `proxyctl cni status` does.

use cni_plugin::{ledger, paths::Paths, verbs};

use crate::api::{
    Shared,
    health::FAMILIES,
    metrics::{AddressLabels, Metrics},
};

/// Counts those of the ranges that are used. What is not known, before the node is opened for one, is not told.
pub(super) fn count(shared: &Shared) {
    let paths = Paths::new(&shared.config.run_dir);
    let gauges = &shared.metrics.pod_addresses;
    let Ok(node) = verbs::node(&paths) else {
        gauges.clear();
        return;
    };
    let ranges = match ledger::usage(&paths, &node) {
        Ok(ranges) => ranges,
        Err(error) => {
            tracing::warn!(%error, "addresses of pods not counted");
            return;
        }
    };
    for (family, ipv4) in FAMILIES.into_iter().zip([true, false]) {
        let usage = ranges.iter().find(|usage| usage.range.is_ipv4() == ipv4);
        let states = ["used", "resting", "free"].map(|state| AddressLabels::new(family, state));
        let Some(usage) = usage else {
            for labels in &states {
                gauges.remove(labels);
            }
            continue;
        };
        for (labels, count) in states.iter().zip([usage.used, usage.resting, usage.free]) {
            gauges
                .get_or_create(labels)
                .set(Metrics::whole(count as u64));
        }
    }
}
