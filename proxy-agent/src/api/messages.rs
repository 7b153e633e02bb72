//! Bodies of the API, shared by agent and `proxyctl`. Additive only: a field is never renamed or removed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{API_VERSION, Configuration};

mod load_balancers;
mod names;
mod node;

pub use load_balancers::{AnnouncementStatus, GivenAddress, LoadBalancersStatus, PoolStatus};
pub use names::{Names, PolicyNames, RowName, RuleWords};
pub use node::{
    CniStatus, CutOffPod, EncryptionPeer, EncryptionStatus, HostStatus, LinkStatus, LinksStatus,
    MasqueradeStatus, PodRangesStatus, WayStatus,
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
    /// What of them is not as somebody wants it: refused annotations of Nodes, and what a Node names and another one has.
    pub way_notes: Vec<String>,
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
    /// Entries by capacity. Maps that evict are full when all is well, but for that of affinities, of which those are counted that are
    /// not over; an array of one slot always is.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn pressure(&self) -> f64 {
        match (self.entries, self.max_entries) {
            (Some(entries), capacity)
                if capacity > 1 && (self.kind != "lru_hash" || self.name == "AFFINITY") =>
            {
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
