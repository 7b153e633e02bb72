//! Schema 1: the maps whose layout or meaning has changed since, as its version (commit 46d41d9) declares them. Maps that
//! are not named here are the same.
//!
//! A flow is keyed from the view of the scope that tracks it: an endpoint, where `local` is the pod's side whatever way the
//! packet goes, or the node (scope 0), where `local` is the source of the packet as it arrives. A translated flow has one
//! entry for each of its tuples; a plain one between two pods has one in the scope of each. `CONNTRACK*` (HASH) holds them,
//! `NEW_FLOWS*` (LRU HASH) some that nobody has answered.

use crate::{
    address::{Address4, Address6},
    conntrack::Tuple,
    pod::map_types,
    policy::intervals::Interval,
};

/// Number of the schema.
pub const SCHEMA: u32 = 1;
/// Hash of its layout, as its version pins it.
pub const HASH: u64 = 0x14f9_e21c_7268_e5ce;

/// Key of `CONNTRACK*` and `NEW_FLOWS*`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey<A> {
    /// Endpoint id, or 0 for the node.
    pub scope: u32,
    /// Address of the pod (endpoint scope) or source (node scope).
    pub local: A,
    /// Address of the other side.
    pub remote: A,
    /// Port of the local side, network order; ICMP echo: identifier.
    pub local_port: u16,
    /// Port of the other side, network order; ICMP echo: identifier.
    pub remote_port: u16,
    /// IP protocol number, zero-extended.
    pub protocol: u32,
}

/// Value of `CONNTRACK*` and `NEW_FLOWS*`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flow<A> {
    /// Seconds since boot at which the entry counts as gone.
    pub expires: u32,
    /// `FLOW_*` bits.
    pub flags: u32,
    /// Epoch of the endpoint's policy word under which the flow was allowed.
    pub epoch: u32,
    /// Cookie of the rule that allowed it.
    pub cookie: u32,
    /// Id of the Service port it came through; 0 for none.
    pub service: u32,
    /// Id of the backend it was given; 0 for none.
    pub backend: u32,
    /// Into what it is rewritten, if `FLOW_REWRITE_*` says so.
    pub rewrite: Tuple<A>,
}

/// The remote side sent the first packet: ingress policy judges the flow (else egress policy does).
pub const FLOW_FROM_REMOTE: u32 = 1 << 0;
/// The side that did not begin has answered.
pub const FLOW_REPLIED: u32 = 1 << 1;
/// TCP: the local side has sent FIN.
pub const FLOW_FIN_LOCAL: u32 = 1 << 2;
/// TCP: the remote side has sent FIN.
pub const FLOW_FIN_REMOTE: u32 = 1 << 3;
/// TCP: a RST was seen.
pub const FLOW_RST: u32 = 1 << 4;
/// Packets sent by the local side are rewritten.
pub const FLOW_REWRITE_FROM_LOCAL: u32 = 1 << 5;
/// Packets sent to the local side are rewritten.
pub const FLOW_REWRITE_TO_LOCAL: u32 = 1 << 6;
/// A pod reaches itself through a Service.
pub const FLOW_HAIRPIN: u32 = 1 << 7;
/// The source was translated to an address of this node.
pub const FLOW_SOURCE_TRANSLATED: u32 = 1 << 8;
/// The other side is a pod of another node: packets to it may leave past the host's stack.
pub const FLOW_REMOTE_POD: u32 = 1 << 9;
/// Both ends are pods of this node: each end's own entry translates, and sees both directions by itself.
pub const FLOW_NO_TWIN: u32 = 1 << 10;

/// Value of `ENDPOINTS` (HASH); the key is the interface index of the host side, `u32`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Endpoint id, never 0.
    pub id: u32,
    /// The pod's IPv4 address; 0 for none.
    pub address4: Address4,
    /// The pod's IPv6 address; `::` for none.
    pub address6: Address6,
    /// Hardware address of the pod's side.
    pub pod_mac: [u8; 6],
    /// Hardware address of the host's side.
    pub host_mac: [u8; 6],
    /// `ENDPOINT_*` bits.
    pub flags: u32,
}

/// Value of `LOCAL_PODS4` and `LOCAL_PODS6`; the key is the pod's address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalPod {
    /// Interface index of the host side.
    pub ifindex: u32,
    /// Endpoint id.
    pub endpoint: u32,
    /// Hardware address of the pod's side.
    pub pod_mac: [u8; 6],
    /// Hardware address of the host's side.
    pub host_mac: [u8; 6],
    /// `ENDPOINT_*` bits.
    pub flags: u32,
}

/// Value of `NODE_CONFIG[0]`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeConfig {
    /// `NODE_*` bits.
    pub flags: u32,
    /// Interface index of `weir_host`; 0 while there is none.
    pub host_device: u32,
    /// Cookie of the node's network namespace (`SO_NETNS_COOKIE`); 0 if unknown.
    pub netns_cookie: u64,
    /// The node's internal IPv4 address: source of translated connections; 0 for none.
    pub address4: Address4,
    /// The node's internal IPv6 address; `::` for none.
    pub address6: Address6,
    /// First source port used for translation, host order.
    pub source_port_min: u16,
    /// Last source port used for translation, host order.
    pub source_port_max: u16,
    /// Unanswered flows that a CPU may begin in `CONNTRACK*` in eight seconds.
    pub unanswered: u32,
    /// Zero.
    pub pad: u32,
}

/// `NODE_*` bits that it knows.
pub const NODE_FLAGS: u32 = 0b111;

/// Intervals in one block of `INTERVALS`.
pub const BLOCK_INTERVALS: usize = 20;
/// Blocks in one list, at most.
pub const CHAIN_LIMIT: usize = 8;

/// Value of `INTERVALS`: a list is a chain of blocks, with at most 160 intervals. What none of them holds is denied.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IntervalBlock {
    /// Intervals in use, at most [`BLOCK_INTERVALS`].
    pub count: u8,
    /// `VERDICT_*` for what no interval holds: always deny.
    pub default_verdict: u8,
    /// Zero.
    pub pad: u16,
    /// Zero.
    pub default_cookie: u32,
    /// Next block; 0 for none.
    pub next: u32,
    /// Zero.
    pub pad2: u32,
    /// The intervals, in the order of ours.
    pub intervals: [Interval; BLOCK_INTERVALS],
}

/// Key of `CONNTRACK4` and `NEW_FLOWS4`.
pub type FlowKey4 = FlowKey<Address4>;
/// Key of `CONNTRACK6` and `NEW_FLOWS6`.
pub type FlowKey6 = FlowKey<Address6>;
/// Value of `CONNTRACK4` and `NEW_FLOWS4`.
pub type Flow4 = Flow<Address4>;
/// Value of `CONNTRACK6` and `NEW_FLOWS6`.
pub type Flow6 = Flow<Address6>;

map_types!(
    FlowKey4 = 20,
    FlowKey6 = 44,
    Flow4 = 36,
    Flow6 = 60,
    Endpoint = 40,
    LocalPod = 24,
    NodeConfig = 48,
    IntervalBlock = 256
);
