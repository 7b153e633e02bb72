//! Every metric once: its place in the code, its name and what it says.

use std::hash::Hash;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{
    buckets,
    described::{Described, Series},
    labels::{
        AddressLabels, Apply, CniRequest, CniVerb, Code, FlowLabels, IpFamily, KindName, MapName,
        Mode, NoLocal, Reason, Verdict, What,
    },
};

/// A gauge of fractions or seconds.
pub type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Declares the metrics by prefix: field, type, what it begins as (by default empty), name, unit where it is not a number of
/// things (it is appended to the name), and help.
macro_rules! series {
    ($($prefix:literal {
        $($(#[$doc:meta])* $field:ident: $type:ty $(= $begin:expr)?, $name:literal $(in $unit:ident)?, $help:literal;)+
    })+) => {
        /// Every metric. Cheap to update from anywhere.
        #[derive(Debug)]
        pub struct Metrics {
            pub(super) registry: Registry,
            $($(#[doc = concat!($help, ".")] $(#[$doc])* pub $field: $type,)+)+
        }

        impl Metrics {
            /// Registers them in their order, after what the registry holds.
            pub(super) fn register(mut registry: Registry) -> Self {
                $($(let $field = series!(@begin $type $(, $begin)?);)+)+
                $(
                    let part = registry.sub_registry_with_prefix($prefix);
                    $(series!(@register part, $name $(in $unit)?, $help, $field);)+
                )+
                Self { registry, $($($field,)+)+ }
            }
        }

        /// What is registered, in its order.
        pub const SERIES: &[Series] = &[$($(Series {
            prefix: $prefix,
            name: $name,
            unit: series!(@unit $($unit)?),
            kind: <$type as Described>::KIND,
            labels: <$type as Described>::LABELS,
            help: $help,
        },)+)+];
    };
    (@register $part:ident, $name:literal, $help:literal, $field:ident) => {
        $part.register($name, $help, $field.clone());
    };
    (@register $part:ident, $name:literal in $unit:ident, $help:literal, $field:ident) => {
        $part.register_with_unit($name, $help, Unit::$unit, $field.clone());
    };
    (@unit) => { None };
    (@unit $unit:ident) => { Some(Unit::$unit) };
    (@begin $type:ty) => { <$type>::default() };
    (@begin $type:ty, $begin:expr) => { $begin };
}

/// A histogram for each set of labels.
fn by<Labels: Clone + Hash + Eq>(histogram: fn() -> Histogram) -> Family<Labels, Histogram> {
    Family::new_with_constructor(histogram)
}

series! {
    "kubeproxy" {
        /// kube-proxy's service level indicator.
        network_programming: Family<IpFamily, Histogram>
            = by(buckets::programming),
            "network_programming_duration" in Seconds, "Time from the change of an endpoint to the maps";
        sync: Family<IpFamily, Histogram> = by(buckets::sync),
            "sync_proxy_rules_duration" in Seconds, "Length of syncs";
        sync_full: Family<IpFamily, Histogram> = by(buckets::sync),
            "sync_full_proxy_rules_duration" in Seconds, "Length of syncs that compared everything";
        sync_partial: Family<IpFamily, Histogram> = by(buckets::sync),
            "sync_partial_proxy_rules_duration" in Seconds, "Length of syncs of what had changed";
        /// Seconds since 1970.
        last_sync: Family<IpFamily, FloatGauge>,
            "sync_proxy_rules_last_timestamp" in Seconds, "When the last sync ended";
        /// Seconds since 1970.
        last_queued: Family<IpFamily, FloatGauge>,
            "sync_proxy_rules_last_queued_timestamp" in Seconds, "When the last sync was queued";
        endpoint_changes_pending: Gauge,
            "sync_proxy_rules_endpoint_changes_pending", "Changed EndpointSlices that are not applied";
        endpoint_changes: Counter,
            "sync_proxy_rules_endpoint_changes", "Changed EndpointSlices";
        service_changes_pending: Gauge,
            "sync_proxy_rules_service_changes_pending", "Changed Services that are not applied";
        service_changes: Counter,
            "sync_proxy_rules_service_changes", "Changed Services";
        no_local_endpoints: Family<NoLocal, Gauge>,
            "sync_proxy_rules_no_local_endpoints_total",
            "Services with a Local traffic policy and no endpoint here";
        healthz: Family<Code, Counter>, "proxy_healthz", "Answers of /healthz";
        livez: Family<Code, Counter>, "proxy_livez", "Answers of /livez";
    }
    "weir" {
        watch_to_map: Histogram = buckets::watch(),
            "watch_to_map" in Seconds, "Time from the arrival of a change to its last map write";
        first_sync: FloatGauge,
            "first_sync" in Seconds, "Time from complete lists to complete maps";
        map_entries: Family<MapName, Gauge>, "bpf_map_entries", "Entries in a map";
        map_max_entries: Family<MapName, Gauge>, "bpf_map_max_entries", "Capacity of a map";
        flows: Family<FlowLabels, Gauge>, "flows", "Tracked flows";
        source_port_pressure: Family<IpFamily, FloatGauge>,
            "source_port_pressure",
            "Source ports that the backend with the fewest left takes, by all that it may take, 0 to 1";
        map_pressure: Family<MapName, FloatGauge>, "bpf_map_pressure", "Entries of a map by its capacity, 0 to 1";
        /// The kernel counts: raised to its figure, see [`Metrics::raise`].
        drops: Family<Reason, Counter>, "drops", "Dropped packets";
        /// Raised like the packets.
        drop_bytes: Family<Reason, Counter>, "drop" in Bytes, "Bytes of dropped packets";
        /// Raised like the drops.
        xdp_frames: Family<Verdict, Counter>,
            "xdp_frames", "Frames that XDP sent back by their link, across by another one, or left to tc";
        xdp_links: Family<Mode, Gauge>, "xdp_links", "Links that carry node traffic by what XDP they have";
        policies_refused: Gauge,
            "policies_refused", "NetworkPolicies for which a map has no room: pods that they select are denied";
        drift_entries: Gauge,
            "drift_entries", "Entries that the last full comparison found to differ";
        repairs: Family<What, Counter>,
            "repairs", "Things of Weir on the node that were changed or taken away and put back";
        apply_errors: Family<Apply, Counter>, "apply_errors", "Writes of maps that failed";
        watch_restarts: Family<KindName, Counter>, "watch_restarts", "Watches that had to list anew";
        /// As `proxyctl cni status` counts them.
        pod_addresses: Family<AddressLabels, Gauge>,
            "pod_addresses",
            "Addresses of the node's ranges of pods that are used, that rest after use, and that are free";
        cni_requests: Family<CniRequest, Counter>, "cni_requests", "Requests of the CNI plugin; code 0 is success";
        cni_duration: Family<CniVerb, Histogram> = by(buckets::request),
            "cni_duration" in Seconds, "Time from the arrival of a request of the CNI plugin to its answer";
    }
}
