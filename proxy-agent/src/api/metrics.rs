//! Metrics: kube-proxy's series under their own names, so that dashboards and alerts go on, and Weir's.

mod buckets;
mod described;
mod labels;
mod series;

use std::fmt;

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, info::Info},
    registry::Registry,
};

pub use self::{
    described::{Series, SeriesKind},
    labels::{
        AddressLabels, Apply, Build, CniRequest, CniVerb, Code, FlowLabels, IpFamily, KindName,
        MapName, Mode, NoLocal, Reason, Verdict, What,
    },
    series::{FloatGauge, Metrics, SERIES},
};
use super::health::FAMILIES;
use crate::model::Kind;

/// What the plugin asks the agent.
const VERBS: [&str; 3] = ["ADD", "CHECK", "DEL"];

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let build = Build::new(
            env!("CARGO_PKG_VERSION"),
            option_env!("WEIR_REVISION").unwrap_or("unknown"),
            env!("WEIR_RUSTC"),
        );
        let ours = registry.sub_registry_with_prefix("weir");
        ours.register("build", "What was built", Info::new(build));
        let metrics = Self::register(registry);
        metrics.begin();
        metrics
    }

    /// Makes series appear before their first event, so that rates begin at zero.
    fn begin(&self) {
        for family in FAMILIES {
            let labels = IpFamily::new(family);
            drop(self.network_programming.get_or_create(&labels));
            for sync in [&self.sync, &self.sync_full, &self.sync_partial] {
                drop(sync.get_or_create(&labels));
            }
            drop(self.last_sync.get_or_create(&labels));
            drop(self.last_queued.get_or_create(&labels));
            for policy in ["internal", "external"] {
                drop(
                    self.no_local_endpoints
                        .get_or_create(&NoLocal::new(family, policy)),
                );
            }
        }
        for reason in proxy_common::counters::REASONS {
            let name = proxy_common::counters::reason_name(*reason);
            drop(self.drops.get_or_create(&Reason::new(name)));
        }
        for (_, name) in proxy_common::counters::XDP_VERDICTS {
            drop(self.xdp_frames.get_or_create(&Verdict::new(name)));
        }
        for kind in Kind::ALL {
            let labels = KindName::new(kind.to_string());
            drop(self.watch_restarts.get_or_create(&labels));
        }
        for part in ["service", "policy"] {
            for operation in ["sync", "verify"] {
                let labels = Apply::new(part, operation);
                drop(self.apply_errors.get_or_create(&labels));
            }
        }
        for verb in VERBS {
            drop(self.cni_requests.get_or_create(&CniRequest::new(verb, "0")));
            drop(self.cni_duration.get_or_create(&CniVerb::new(verb)));
        }
        for code in ["200", "503"] {
            drop(self.healthz.get_or_create(&Code::new(code)));
            drop(self.livez.get_or_create(&Code::new(code)));
        }
    }

    /// Sets a counter that someone else counts; it never goes back.
    pub fn raise(counter: &Counter, to: u64) {
        let now = counter.get();
        counter.inc_by(to.saturating_sub(now));
    }

    /// A number as gauges have it.
    pub fn whole(n: u64) -> i64 {
        i64::try_from(n).unwrap_or(i64::MAX)
    }

    /// One map's figures; entries are not counted in every kind of map.
    pub fn set_map(&self, name: &str, entries: Option<u64>, capacity: u64) {
        let labels = MapName::new(name);
        self.map_max_entries
            .get_or_create(&labels)
            .set(Self::whole(capacity));
        let Some(entries) = entries else {
            return;
        };
        self.map_entries
            .get_or_create(&labels)
            .set(Self::whole(entries));
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let pressure = if capacity == 0 {
            0.0
        } else {
            entries as f64 / capacity as f64
        };
        self.map_pressure.get_or_create(&labels).set(pressure);
    }

    /// The text of `/metrics`.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{KindName, Metrics};

    #[test]
    fn names_are_kube_proxys_and_ours() {
        let metrics = Metrics::new();
        metrics.set_map("FLOWS4", Some(3), 4);
        metrics.set_map("FLOW_INDEX4", None, 9);
        metrics
            .watch_restarts
            .get_or_create(&KindName::new("Service"))
            .inc();
        let text = metrics.encode().unwrap();
        for line in [
            "kubeproxy_network_programming_duration_seconds_bucket{le=\"0.25\",ip_family=\"IPv4\"} 0",
            "kubeproxy_network_programming_duration_seconds_bucket{le=\"115.0\",ip_family=\"IPv6\"} 0",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{le=\"16.384\",ip_family=\"IPv4\"} 0",
            "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 0.0",
            "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv4\"} 0.0",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total 0",
            "kubeproxy_sync_proxy_rules_service_changes_pending 0",
            "kubeproxy_sync_proxy_rules_service_changes_total 0",
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"internal\"} 0",
            "kubeproxy_proxy_healthz_total{code=\"200\"} 0",
            "kubeproxy_proxy_livez_total{code=\"503\"} 0",
            "weir_bpf_map_pressure{map=\"FLOWS4\"} 0.75",
            "weir_bpf_map_max_entries{map=\"FLOWS4\"} 4",
            "weir_drops_total{reason=\"policy-egress\"} 0",
            "weir_xdp_frames_total{verdict=\"back\"} 0",
            "weir_watch_restarts_total{kind=\"Service\"} 1",
            "weir_drift_entries 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("weir_build_info{version="), "{text}");
        let uncounted = text.lines().filter(|line| line.contains("FLOW_INDEX4"));
        let uncounted: Vec<_> = uncounted.collect();
        assert_eq!(
            uncounted,
            ["weir_bpf_map_max_entries{map=\"FLOW_INDEX4\"} 9"]
        );
    }
}
