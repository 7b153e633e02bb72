//! kube-proxy's side of the bench: nftables mode, by its own metrics.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};
use weir_world::until;

use super::{Bench, Results, changes};
use crate::{
    bench::{figures::Figures, kube_proxy, memory},
    tools::debian,
};

/// How long all Services may take.
const SYNC_LIMIT: Duration = Duration::from_mins(5);
/// Between two changes.
const PAUSE: Duration = Duration::from_secs(2);
/// For each change of Weir's, kube-proxy gets this share.
const SHARE: usize = 40;
const FULL: &str = "kubeproxy_sync_full_proxy_rules_duration_seconds";
const PARTIAL: &str = "kubeproxy_sync_partial_proxy_rules_duration_seconds";

/// Measures a start with all objects there, then single changes.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Results> {
    debian::host(&[("nft", "nftables"), ("conntrack", "conntrack")])?;
    let proxy = kube_proxy::start(bench.node, bench.api)?;
    until("kube-proxy's first sync", SYNC_LIMIT, || {
        let figures = Figures::read(bench.node).ok();
        let count = figures.and_then(|figures| figures.value(&format!("{FULL}_count")));
        Ok(count.filter(|count| *count >= 1.0).map(drop))
    })?;
    let first = Figures::read(bench.node)?;
    let sync = mean(&first, FULL, 0.0, 0.0).context("no full sync in kube-proxy's metrics")?;
    let earlier = |suffix| first.value(&format!("{PARTIAL}_{suffix}")).unwrap_or(0.0);
    let (count, sum) = (earlier("count"), earlier("sum"));
    // Others than Weir's.
    let begin = bench.args.changes;
    let end = begin + (begin / SHARE).max(1);
    changes::make(bench, begin..end, PAUSE)?;
    until("kube-proxy to follow the changes", SYNC_LIMIT, || {
        thread::sleep(Duration::from_secs(1));
        let now = Figures::read(bench.node)?.value(&format!("{PARTIAL}_count"));
        Ok(now.filter(|now| *now > count).map(drop))
    })?;
    let change = mean(&Figures::read(bench.node)?, PARTIAL, count, sum)
        .context("no partial sync in kube-proxy's metrics")?;
    let bytes = memory::steady(proxy.id())?;
    proxy.terminate()?;
    Ok(Results {
        path: "kube-proxy",
        figures: vec![
            ("lists_to_maps_seconds", sync),
            ("change_mean_seconds", change),
            ("memory_bytes", bytes),
        ],
    })
}

/// Mean of what a histogram observed since it had this count and sum.
fn mean(figures: &Figures, name: &str, count: f64, sum: f64) -> Option<f64> {
    let counted = figures.value(&format!("{name}_count"))? - count;
    let summed = figures.value(&format!("{name}_sum"))? - sum;
    (counted > 0.0).then(|| summed / counted)
}
