//! Bodies of the API, shared by agent and `proxyctl`. Additive only: a field is never renamed or removed.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    config::{API_VERSION, Configuration},
    model::Direction,
};

/// `GET /v1/status`: one screen about the agent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The agent itself.
    pub agent: AgentStatus,
    /// What it observes.
    pub observe: ObserveStatus,
    /// How well the maps are in step.
    pub sync: SyncStatus,
    /// Fullness of every map.
    pub maps: Vec<MapStatus>,
    /// The flows that are tracked.
    pub flows: FlowsStatus,
    /// The CNI plugin.
    pub cni: CniStatus,
    /// The way of the host's own packets to Services.
    pub host: HostStatus,
    /// The links that carry node traffic.
    pub links: LinksStatus,
    /// In whose name pods speak out of the cluster.
    pub masquerade: MasqueradeStatus,
    /// Ranges of pods that this node has claimed.
    pub pod_ranges: PodRangesStatus,
    /// The way to each node's pods.
    pub ways: Vec<WayStatus>,
    /// Encryption between nodes.
    pub encryption: EncryptionStatus,
    /// Load balancers' addresses, where Weir gives them.
    pub load_balancers: LoadBalancersStatus,
    /// What somebody changed or took away, and Weir put back.
    pub repairs: RepairsStatus,
    /// Where health and metrics are served.
    pub health: HealthStatus,
}

/// What somebody changed or took away, and Weir put back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RepairsStatus {
    /// How often since the agent started, by what.
    pub times: BTreeMap<String, u64>,
    /// What was put back lately.
    pub recent: Vec<RepairStatus>,
}

/// Something that was put back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RepairStatus {
    /// What it is: `LinkPrograms`, `Forwarding` and so on.
    pub what: String,
    /// Its name.
    pub thing: String,
    /// How often, without ten minutes of peace in between.
    pub times: u64,
    /// Seconds since the last time.
    pub last_seconds: u64,
}

impl RepairStatus {
    /// Somebody wants it otherwise.
    pub const fn recurs(&self) -> bool {
        self.times >= 3
    }

    /// People should know: it is not long ago, or happens again and again.
    pub const fn stands(&self) -> bool {
        self.last_seconds < 60 || self.recurs()
    }
}

/// The agent itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentStatus {
    /// Version, without a leading `v`.
    pub version: String,
    /// Hash of the map layout, hexadecimal.
    pub layout: String,
    /// Name of the Node.
    pub node: String,
    /// Process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Whether the first sync is done.
    pub ready: bool,
    /// What is awaited before it is ready.
    pub awaiting: Vec<String>,
    /// `bpf` or `stack`.
    pub forwarding: String,
    /// Settings that were changed in the configuration's file and wait for a restart.
    pub restart_for: Vec<String>,
}

/// What is observed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObserveStatus {
    /// URL of the API server, or the folder of manifests.
    pub source: String,
    /// Whether every kind was listed whole.
    pub complete: bool,
    /// Objects held, by kind.
    pub objects: BTreeMap<String, u64>,
    /// Seconds since the last event; none before the first.
    pub last_event_seconds: Option<u64>,
    /// What is wrong now: a watch that fails, an object or file that cannot be read.
    pub problems: Vec<String>,
}

/// How well the maps are in step.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStatus {
    /// Services that this node serves.
    pub services: u64,
    /// Those that could not be programmed.
    pub services_failed: u64,
    /// Backends of all of them.
    pub backends: u64,
    /// Policies.
    pub policies: u64,
    /// Those for which a map has no room: pods that they select are denied.
    pub policies_refused: u64,
    /// Endpoints (pods of this node).
    pub endpoints: u64,
    /// Seconds since the last full comparison; none before the first.
    pub last_full_seconds: Option<u64>,
    /// Its length in milliseconds.
    pub last_full_millis: f64,
    /// Entries that it found to differ.
    pub drift: u64,
    /// What could not be programmed, and why.
    pub errors: Vec<String>,
}

/// Fullness of a map.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MapStatus {
    /// Name.
    pub name: String,
    /// Type, as the kernel names it.
    pub kind: String,
    /// Entries; none if they cannot be counted (arrays).
    pub entries: Option<u64>,
    /// Capacity.
    pub max_entries: u64,
}

/// Entries by capacity from which a map is a warning.
const PRESSURE: f64 = 0.8;

impl MapStatus {
    /// Entries by capacity. Maps that evict are full when all is well, and an array of one slot always is.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn pressure(&self) -> f64 {
        match (self.entries, self.max_entries) {
            (Some(entries), capacity) if capacity > 1 && self.kind != "lru_hash" => {
                entries as f64 / capacity as f64
            }
            _ => 0.0,
        }
    }

    /// Whether people should know.
    pub fn is_filling_up(&self) -> bool {
        self.pressure() >= PRESSURE
    }
}

/// The flows that are tracked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FlowsStatus {
    /// By family; none before they are counted.
    pub families: Vec<FamilyFlows>,
    /// Source ports for translation that each backend has.
    pub source_ports: u32,
    /// The backends that have the fewest left, the fullest first.
    pub busiest: Vec<SourcePorts>,
}

/// The flows of a family.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FamilyFlows {
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// How many fit.
    pub capacity: u32,
    /// Flows that keep their slots whatever comes.
    pub assured: u32,
    /// Other flows that live: not answered, or closed.
    pub unassured: u32,
    /// Flows by state, `expired` ones too, whose slots are free.
    pub states: BTreeMap<String, u32>,
}

/// Source ports of a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourcePorts {
    /// Address, port and protocol of the backend.
    pub backend: String,
    /// The address of this node that clients have there.
    pub source: String,
    /// How many are taken.
    pub taken: u32,
    /// By pods that speak in the node's name; else by clients of a Service.
    pub masqueraded: bool,
}

/// The CNI plugin.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CniStatus {
    /// Whether the agent installs it.
    pub enabled: bool,
    /// The conflist, once installed.
    pub conflist: Option<String>,
    /// Pods wired.
    pub pods: u64,
    /// Of these, attached by TCX links.
    pub tcx: u64,
    /// Of these, attached by filters of clsact: at first all, and for ever where the kernel has no TCX.
    pub clsact: u64,
    /// Of these, with limits of bandwidth in force.
    pub limited: u64,
    /// What interfaces new pods get: `veth` or `netkit`.
    pub device: String,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// The way of the host's own packets to Services, where no socket hook chooses a backend.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostStatus {
    /// Whether `weir_host` is there and has its program.
    pub attached: bool,
    /// Ranges of Services' addresses that are routed there.
    pub ranges: Vec<String>,
    /// Where the ranges are from: `configuration`, `ServiceCIDRs` or `ClusterIPs`.
    pub source: String,
    /// What of them others route elsewhere.
    pub elsewhere: Vec<String>,
}

/// The links that carry node traffic.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinksStatus {
    /// Them.
    pub links: Vec<LinkStatus>,
    /// What is left alone, and what costs more than it must.
    pub notes: Vec<String>,
}

/// A link that carries node traffic.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinkStatus {
    /// Its name.
    pub name: String,
    /// Whether its frames have an Ethernet header.
    pub ethernet: bool,
    /// `tcx` or `clsact`; none while the programs are not attached.
    pub attached: Option<String>,
    /// `native`; none while there is no XDP program.
    pub xdp: Option<String>,
    /// Why there is none, where one is wanted.
    pub no_xdp: Option<String>,
    /// Sources of what is translated on its way out by it; of a family without one it is the node's internal address.
    pub sources: Vec<String>,
}

/// In whose name pods speak out of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MasqueradeStatus {
    /// By family, `IPv4` or `IPv6`: whether it is the node's; empty while that is not known.
    pub families: BTreeMap<String, bool>,
    /// How many ranges they reach under their own address.
    pub inside: u64,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// Ranges of pods that this node has claimed (`ipam: cluster`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodRangesStatus {
    /// Ranges are claimed; otherwise they are those of `spec.podCIDRs`.
    pub claimed: bool,
    /// Those that it has; first those that addresses are given out of.
    pub ranges: Vec<String>,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// Load balancers' addresses, where Weir gives them (`loadBalancer.pools`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancersStatus {
    /// The pools; empty: Weir gives no addresses.
    pub pools: Vec<PoolStatus>,
    /// The node whose agent gives addresses; none if that is not known here.
    pub leader: Option<String>,
    /// Addresses of the pools that Services have.
    pub addresses: Vec<GivenAddress>,
    /// What is wrong. Which Services are refused an address the node of `leader` says.
    pub problems: Vec<String>,
}

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// How many addresses it has.
    pub addresses: u64,
    /// How many of them Services have.
    pub given: u64,
}

/// An address that Services have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GivenAddress {
    /// It.
    pub address: String,
    /// Whose it is, `namespace/name`; several, if they share it.
    pub services: Vec<String>,
    /// Where it is announced; empty if no link of this node is in a network with it.
    pub announced: Vec<AnnouncementStatus>,
}

/// Who answers for an address on a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AnnouncementStatus {
    /// The link of this node.
    pub link: String,
    /// The node that answers; none if no node may: with `externalTrafficPolicy: Local` none has an endpoint.
    pub node: Option<String>,
}

/// The way to a range of pods of another node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WayStatus {
    /// The node.
    pub node: String,
    /// The range.
    pub range: String,
    /// `direct`, `by the network`, or `tunnel to` or `encrypted to` the address where it ends.
    pub way: String,
}

/// Encryption between nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EncryptionStatus {
    /// `off` or `wireguard`.
    pub mode: String,
    /// What would leave unencrypted is dropped.
    pub strict: bool,
    /// This node's public key, base64.
    pub public_key: Option<String>,
    /// The nodes that are reached so.
    pub peers: Vec<EncryptionPeer>,
    /// Ranges of pods to which nothing may leave unencrypted.
    pub closed: Vec<String>,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// A node that is reached encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EncryptionPeer {
    /// The node.
    pub node: String,
    /// Its public key, base64.
    pub key: String,
    /// Address and port where it takes packets.
    pub endpoint: String,
    /// Seconds since hands were shaken last; none if never.
    pub handshake_seconds: Option<u64>,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
}

/// Where health and metrics are served.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthStatus {
    /// Address of `/healthz`.
    pub healthz_address: String,
    /// Whether every queued update was applied in time.
    pub healthy: bool,
    /// False while the node is being deleted.
    pub node_eligible: bool,
    /// Address of `/metrics`.
    pub metrics_address: String,
    /// What is wrong: changes that are not applied, tasks that stand still.
    pub problems: Vec<String>,
}

/// `GET /v1/names`: what the numbers in the maps stand for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Names {
    /// Service port id → `namespace/name:port`.
    pub services: BTreeMap<u32, String>,
    /// Endpoint id → `namespace/pod`.
    pub endpoints: BTreeMap<u32, String>,
    /// Cookie → the policy and rule.
    pub cookies: BTreeMap<u32, String>,
    /// Address → `namespace/pod` or `node/name`.
    pub addresses: BTreeMap<IpAddr, String>,
    /// Rows and classes of policy.
    pub policy: PolicyNames,
}

/// A row of policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RowName {
    /// Direction.
    pub direction: Direction,
    /// The policies that isolate its pods, `namespace/name`.
    pub policies: Vec<String>,
}

/// Names of all rows and classes in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyNames {
    /// Rows by number.
    pub rows: BTreeMap<u32, RowName>,
    /// Classes by number: the peers of policies that its addresses are, each of them.
    pub classes: BTreeMap<u32, Vec<String>>,
    /// Endpoints that are denied everything in a direction, ingress first, because a policy was refused, and which and
    /// why.
    pub closed: BTreeMap<u32, [Option<String>; 2]>,
    /// What the rules of these rows say, by name: `shop/db ingress[0]`.
    pub rules: BTreeMap<String, RuleWords>,
}

/// What one rule says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleWords {
    /// The peers that it names, of which one is enough.
    pub peers: Vec<String>,
    /// The ports that it names; empty if it names none, which is all of them.
    pub ports: Vec<String>,
}

/// `GET /config_dump` and `/configz`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ConfigDump {
    /// The effective configuration.
    #[serde(rename = "agentConfiguration")]
    pub configuration: Configuration,
}

impl ConfigDump {
    /// Wraps the effective configuration.
    pub const fn new(configuration: Configuration) -> Self {
        Self { configuration }
    }
}

/// `PUT /v1/log-level` and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct LogLevelBody {
    /// The filter.
    pub level: String,
}

/// Body of every answer that is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: String,
}

/// A list as `proxyctl -o json` prints it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    /// Always [`API_VERSION`].
    pub api_version: &'static str,
    /// `ServiceList`, `ConntrackList` and so on.
    pub kind: &'static str,
    /// The rows.
    pub items: Vec<T>,
}

impl<T> List<T> {
    /// A list of rows of one kind.
    pub const fn new(kind: &'static str, items: Vec<T>) -> Self {
        Self {
            api_version: API_VERSION,
            kind,
            items,
        }
    }
}
