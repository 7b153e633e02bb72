//! kube-proxy's side of the bench: nftables mode, by its own metrics.

use std::{fs::File, process::Stdio, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use weir_world::{Process, until};

use super::{Bench, Results, changes, figures::Figures, memory};
use crate::tools::{debian, go};

/// How long all Services may take.
const SYNC_LIMIT: Duration = Duration::from_mins(5);
/// For each change of Weir's, kube-proxy gets this share.
const SHARE: usize = 40;
const FULL: &str = "kubeproxy_sync_full_proxy_rules_duration_seconds";
const PARTIAL: &str = "kubeproxy_sync_partial_proxy_rules_duration_seconds";

/// Measures a start with all objects there, then single changes.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Results> {
    debian::host(&[("nft", "nftables"), ("conntrack", "conntrack")])?;
    let proxy = start(bench)?;
    until("kube-proxy's first sync", SYNC_LIMIT, || {
        let figures = Figures::read(bench.node).ok();
        let count = figures.and_then(|figures| figures.value(&format!("{FULL}_count")));
        Ok(count.filter(|count| *count >= 1.0).map(drop))
    })?;
    let first = Figures::read(bench.node)?;
    let sync = mean(&first, FULL, 0.0, 0.0).context("no full sync in kube-proxy's metrics")?;
    let earlier = |suffix| first.value(&format!("{PARTIAL}_{suffix}")).unwrap_or(0.0);
    let (count, sum) = (earlier("count"), earlier("sum"));
    let wanted = (bench.args.changes / SHARE).max(1);
    for _ in 0..wanted {
        changes::make(bench, 1, Duration::from_secs(2))?;
    }
    until("kube-proxy to follow the changes", SYNC_LIMIT, || {
        thread::sleep(Duration::from_secs(1));
        let now = Figures::read(bench.node)?.value(&format!("{PARTIAL}_count"));
        Ok(now.filter(|now| *now > count).map(drop))
    })?;
    let change = mean(&Figures::read(bench.node)?, PARTIAL, count, sum)
        .context("no partial sync in kube-proxy's metrics")?;
    let bytes = memory::private_bytes(proxy.id())?;
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

fn start(bench: &Bench<'_>) -> Result<Process> {
    let node = bench.node;
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node.name(),
        "clusterCIDR": "10.244.0.0/16",
        "clientConnection": { "kubeconfig": bench.api.kubeconfig() },
        // The table's size belongs to the machine, not to a namespace.
        "conntrack": { "maxPerCore": 0, "min": 0 },
    });
    std::fs::write(node.file("/run/kube-proxy.json"), config.to_string())?;
    let log_path = node.file("/run/kube-proxy.log");
    let log = File::create(&log_path)?;
    let mut command = node.command(go::KUBE_PROXY.ensure()?)?;
    command
        .arg("--config=/run/kube-proxy.json")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let mut process = Process::start(command)?;
    thread::sleep(Duration::from_secs(1));
    if let Some(status) = process.ended()? {
        let log = std::fs::read_to_string(&log_path).unwrap_or_default();
        bail!("kube-proxy ended: {status}\n{log}");
    }
    Ok(process)
}
