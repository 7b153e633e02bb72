//! The node in the status: plugin, links, ways to other nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    /// Of these, by times of departure, where the kernel has a queue for that (`fq`); the others by token buckets.
    #[serde(default)]
    pub timed: u64,
    /// What interfaces new pods get: `veth` or `netkit`.
    pub device: String,
    /// What is wrong.
    pub problems: Vec<String>,
    /// What of pods is not known any more, and what to do about it.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Pods that have no network.
    #[serde(default)]
    pub cut_off: Vec<CutOffPod>,
}

/// A pod without a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CutOffPod {
    /// `namespace/name`.
    pub pod: String,
    /// The host's side of its interface.
    pub interface: String,
    /// Why, and what to do about it.
    pub why: String,
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
    /// The one that takes its place once the API server shows it; none while there is none.
    pub next_public_key: Option<String>,
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
