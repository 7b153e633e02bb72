//! Metrics: kube-proxy's series under their own names, so that dashboards and alerts go on, and Weir's.

use std::fmt;

use axum::http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

use super::health::FAMILIES;

/// A gauge of fractions or seconds.
pub type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Declares a set of text labels.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($field:ident),+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub struct $name { $(#[expect(missing_docs, reason = "named by the label")] pub $field: String),+ }

        impl $name {
            /// The labels in their order.
            pub fn new($($field: impl Into<String>),+) -> Self {
                Self { $($field: $field.into()),+ }
            }
        }
    )+};
}

labels! {
    /// A status code of HTTP.
    Code { code }
    /// A family: `IPv4` or `IPv6`.
    IpFamily { ip_family }
    /// A family and `internal` or `external`.
    NoLocal { ip_family, traffic_policy }
    /// A map.
    MapName { map }
    /// A drop reason.
    Reason { reason }
    /// A kind that is watched.
    KindName { kind }
    /// An operation on a map and how it failed.
    Apply { op, error }
    /// A verb of the plugin and the code of its answer.
    CniRequest { verb, code }
    /// What was built.
    Build { version, revision, rustc }
}

impl From<StatusCode> for Code {
    fn from(code: StatusCode) -> Self {
        Self::new(code.as_str())
    }
}

/// Every metric. Cheap to update from anywhere.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// From the change's trigger time to the maps: kube-proxy's service level indicator.
    pub network_programming: Family<IpFamily, Histogram>,
    /// From the arrival of a watch event to its last map write.
    pub watch_to_map: Histogram,
    /// From the moment when all lists were complete to the end of the first sync.
    pub first_sync: FloatGauge,
    /// Length of syncs.
    pub sync: Family<IpFamily, Histogram>,
    /// Length of syncs that compared everything.
    pub sync_full: Family<IpFamily, Histogram>,
    /// Length of syncs of what had changed.
    pub sync_partial: Family<IpFamily, Histogram>,
    /// When the last sync ended, seconds since 1970.
    pub last_sync: Family<IpFamily, FloatGauge>,
    /// When the last sync was queued, seconds since 1970.
    pub last_queued: Family<IpFamily, FloatGauge>,
    /// Changed `EndpointSlice`s that are not applied.
    pub endpoint_changes_pending: Gauge,
    /// Changed `EndpointSlice`s.
    pub endpoint_changes: Counter,
    /// Changed Services that are not applied.
    pub service_changes_pending: Gauge,
    /// Changed Services.
    pub service_changes: Counter,
    /// Services whose traffic policy is Local and that have endpoints, but none here.
    pub no_local_endpoints: Family<NoLocal, Gauge>,
    /// Answers of `/healthz`.
    pub healthz: Family<Code, Counter>,
    /// Answers of `/livez`.
    pub livez: Family<Code, Counter>,
    /// Entries in a map.
    pub map_entries: Family<MapName, Gauge>,
    /// Capacity of a map.
    pub map_max_entries: Family<MapName, Gauge>,
    /// Entries by capacity.
    pub map_pressure: Family<MapName, FloatGauge>,
    /// Dropped packets. A gauge in memory, because the kernel counts: set, never added to.
    pub drops: Family<Reason, Counter>,
    /// Bytes of dropped packets.
    pub drop_bytes: Family<Reason, Counter>,
    /// Entries that the last full comparison found to differ.
    pub drift_entries: Gauge,
    /// Writes that failed.
    pub apply_errors: Family<Apply, Counter>,
    /// Watches that began anew.
    pub watch_restarts: Family<KindName, Counter>,
    /// Requests of the CNI plugin.
    pub cni_requests: Family<CniRequest, Counter>,
    /// Flows that the collector removed.
    pub collected_flows: Family<IpFamily, Counter>,
    /// Length of a round of the collector.
    pub collection: Family<IpFamily, Histogram>,
}

/// kube-proxy's buckets of the length of a sync.
fn sync_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

/// From 0.25 ms, by a half more each, to some four minutes.
fn watch_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 1.5, 35))
}

/// kube-proxy's buckets of network programming: 0.25, 0.5, 1..=59, 60..=115 by 5, 120..=300 by 30.
fn programming_histogram() -> Histogram {
    let seconds = (1..60)
        .chain((60..120).step_by(5))
        .chain((120..=300).step_by(30));
    Histogram::new([0.25, 0.5].into_iter().chain(seconds.map(f64::from)))
}

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            network_programming: Family::new_with_constructor(programming_histogram),
            watch_to_map: watch_histogram(),
            first_sync: FloatGauge::default(),
            sync: Family::new_with_constructor(sync_histogram),
            sync_full: Family::new_with_constructor(sync_histogram),
            sync_partial: Family::new_with_constructor(sync_histogram),
            last_sync: Family::default(),
            last_queued: Family::default(),
            endpoint_changes_pending: Gauge::default(),
            endpoint_changes: Counter::default(),
            service_changes_pending: Gauge::default(),
            service_changes: Counter::default(),
            no_local_endpoints: Family::default(),
            healthz: Family::default(),
            livez: Family::default(),
            map_entries: Family::default(),
            map_max_entries: Family::default(),
            map_pressure: Family::default(),
            drops: Family::default(),
            drop_bytes: Family::default(),
            drift_entries: Gauge::default(),
            apply_errors: Family::default(),
            watch_restarts: Family::default(),
            cni_requests: Family::default(),
            collected_flows: Family::default(),
            collection: Family::new_with_constructor(sync_histogram),
        };
        metrics.register_kubeproxy();
        metrics.register_weir();
        metrics.begin();
        metrics
    }

    fn register_kubeproxy(&mut self) {
        let registry = self.registry.sub_registry_with_prefix("kubeproxy");
        registry.register(
            "network_programming_duration_seconds",
            "Time from the change of an endpoint to the maps",
            self.network_programming.clone(),
        );
        registry.register(
            "sync_proxy_rules_duration_seconds",
            "Length of syncs",
            self.sync.clone(),
        );
        registry.register(
            "sync_full_proxy_rules_duration_seconds",
            "Length of syncs that compared everything",
            self.sync_full.clone(),
        );
        registry.register(
            "sync_partial_proxy_rules_duration_seconds",
            "Length of syncs of what had changed",
            self.sync_partial.clone(),
        );
        registry.register(
            "sync_proxy_rules_last_timestamp_seconds",
            "When the last sync ended",
            self.last_sync.clone(),
        );
        registry.register(
            "sync_proxy_rules_last_queued_timestamp_seconds",
            "When the last sync was queued",
            self.last_queued.clone(),
        );
        registry.register(
            "sync_proxy_rules_endpoint_changes_pending",
            "Changed EndpointSlices that are not applied",
            self.endpoint_changes_pending.clone(),
        );
        registry.register(
            "sync_proxy_rules_endpoint_changes",
            "Changed EndpointSlices",
            self.endpoint_changes.clone(),
        );
        registry.register(
            "sync_proxy_rules_service_changes_pending",
            "Changed Services that are not applied",
            self.service_changes_pending.clone(),
        );
        registry.register(
            "sync_proxy_rules_service_changes",
            "Changed Services",
            self.service_changes.clone(),
        );
        registry.register(
            "sync_proxy_rules_no_local_endpoints_total",
            "Services with a Local traffic policy and no endpoint here",
            self.no_local_endpoints.clone(),
        );
        registry.register("proxy_healthz", "Answers of /healthz", self.healthz.clone());
        registry.register("proxy_livez", "Answers of /livez", self.livez.clone());
        registry.register(
            "conntrack_reconciler_deleted_entries",
            "Expired flows that were removed",
            self.collected_flows.clone(),
        );
        registry.register(
            "conntrack_reconciler_sync_duration_seconds",
            "Length of a round of the flow collector",
            self.collection.clone(),
        );
    }

    fn register_weir(&mut self) {
        let registry = self.registry.sub_registry_with_prefix("weir");
        let build = Build::new(
            env!("CARGO_PKG_VERSION"),
            option_env!("WEIR_REVISION").unwrap_or("unknown"),
            env!("CARGO_PKG_RUST_VERSION"),
        );
        registry.register("build", "What was built", Info::new(build));
        registry.register(
            "watch_to_map_seconds",
            "Time from the arrival of a change to its last map write",
            self.watch_to_map.clone(),
        );
        registry.register(
            "first_sync_seconds",
            "Time from complete lists to complete maps",
            self.first_sync.clone(),
        );
        registry.register(
            "bpf_map_entries",
            "Entries in a map",
            self.map_entries.clone(),
        );
        registry.register(
            "bpf_map_max_entries",
            "Capacity of a map",
            self.map_max_entries.clone(),
        );
        registry.register(
            "bpf_map_pressure",
            "Entries by capacity",
            self.map_pressure.clone(),
        );
        registry.register("drops", "Dropped packets", self.drops.clone());
        registry.register(
            "drop_bytes",
            "Bytes of dropped packets",
            self.drop_bytes.clone(),
        );
        registry.register(
            "drift_entries",
            "Entries that the last full comparison found to differ",
            self.drift_entries.clone(),
        );
        registry.register(
            "apply_errors",
            "Writes of maps that failed",
            self.apply_errors.clone(),
        );
        registry.register(
            "watch_restarts",
            "Watches that began anew",
            self.watch_restarts.clone(),
        );
        registry.register(
            "cni_requests",
            "Requests of the CNI plugin",
            self.cni_requests.clone(),
        );
    }

    /// Makes series appear before their first event, so that rates begin at zero.
    fn begin(&self) {
        for family in FAMILIES {
            let labels = IpFamily::new(family);
            drop(self.network_programming.get_or_create(&labels));
            drop(self.sync.get_or_create(&labels));
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

    /// One map's figures.
    pub fn set_map(&self, name: &str, entries: u64, capacity: u64) {
        let labels = MapName::new(name);
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.map_entries.get_or_create(&labels).set(whole(entries));
        self.map_max_entries
            .get_or_create(&labels)
            .set(whole(capacity));
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
        metrics.set_map("CONNTRACK4", 3, 4);
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
            "weir_bpf_map_pressure{map=\"CONNTRACK4\"} 0.75",
            "weir_bpf_map_max_entries{map=\"CONNTRACK4\"} 4",
            "weir_drops_total{reason=\"policy-egress\"} 0",
            "weir_watch_restarts_total{kind=\"Service\"} 1",
            "weir_drift_entries 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("weir_build_info{version="), "{text}");
    }
}
