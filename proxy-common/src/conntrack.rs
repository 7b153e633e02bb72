//! `CONNTRACK4`, `CONNTRACK6` (HASH) and `NEW_FLOWS4`, `NEW_FLOWS6` (LRU HASH): our own connection tracking.
//!
//! A flow is keyed from the view of the scope that tracks it: an endpoint (pod interface), where `local` is
//! the pod's side whatever way the packet goes, or the node (scope 0), where `local` is the source of the
//! packet as it arrives. An untranslated flow has one entry per scope, hit by both directions. A translated
//! flow has one entry for each of its two tuples (twins): each names the whole tuple into which a packet that
//! travels in `rewrite direction` is turned. Between two pods of this node the second one is the serving
//! pod's own entry, which a flow has anyway.
//!
//! Scoping by endpoint makes forged entries harmless to other pods. Flows live in `CONNTRACK`, which only expiry
//! and garbage collection empty. Of those that the other side has not answered yet it takes a few at a time
//! (`NodeConfig::unanswered`); the others wait in `NEW_FLOWS`, which evicts, and move when they are answered: a
//! flood can neither evict a live flow nor fill the map. Expiry is checked in the datapath.

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

/// Key of `CONNTRACK4` and `NEW_FLOWS4`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey4 {
    /// Endpoint id, or 0 for the node.
    pub scope: u32,
    /// Address of the pod (endpoint scope) or source (node scope).
    pub local: Address4,
    /// Address of the other side.
    pub remote: Address4,
    /// Port of the local side, network order; ICMP echo: identifier.
    pub local_port: u16,
    /// Port of the other side, network order; ICMP echo: identifier.
    pub remote_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// Key of `CONNTRACK6` and `NEW_FLOWS6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey6 {
    /// Endpoint id, or 0 for the node.
    pub scope: u32,
    /// Address of the pod (endpoint scope) or source (node scope).
    pub local: Address6,
    /// Address of the other side.
    pub remote: Address6,
    /// Port of the local side, network order; ICMP echo: identifier.
    pub local_port: u16,
    /// Port of the other side, network order; ICMP echo: identifier.
    pub remote_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// The tuple into which a packet is rewritten.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rewrite4 {
    /// New source address.
    pub source: Address4,
    /// New destination address.
    pub destination: Address4,
    /// New source port, network order.
    pub source_port: u16,
    /// New destination port, network order.
    pub destination_port: u16,
}

/// The tuple into which a packet is rewritten.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rewrite6 {
    /// New source address.
    pub source: Address6,
    /// New destination address.
    pub destination: Address6,
    /// New source port, network order.
    pub source_port: u16,
    /// New destination port, network order.
    pub destination_port: u16,
}

/// What is known of a flow, whatever its family.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowState {
    /// Seconds since boot at which the entry counts as gone.
    pub expires: u32,
    /// `FLOW_*` bits.
    pub flags: u32,
    /// Epoch of the endpoint's policy word under which the flow was allowed.
    pub epoch: u32,
    /// Cookie of the rule that allowed it (`policy::cookie`).
    pub cookie: u32,
    /// Id of the Service port it came through; 0 for none.
    pub service: u32,
    /// Id of the backend it was given; 0 for none.
    pub backend: u32,
}

/// Value of `CONNTRACK4` and `NEW_FLOWS4`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flow4 {
    /// What is known of the flow.
    pub state: FlowState,
    /// Into what it is rewritten, if `FLOW_REWRITE_*` says so.
    pub rewrite: Rewrite4,
}

/// Value of `CONNTRACK6` and `NEW_FLOWS6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flow6 {
    /// What is known of the flow.
    pub state: FlowState,
    /// Into what it is rewritten, if `FLOW_REWRITE_*` says so.
    pub rewrite: Rewrite6,
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
/// A pod reaches itself through a Service: its packets come back to it from the frontend's address.
pub const FLOW_HAIRPIN: u32 = 1 << 7;
/// The source was translated to an address of this node.
pub const FLOW_SOURCE_TRANSLATED: u32 = 1 << 8;
/// The other side is a pod of another node: packets to it may leave past the host's stack.
pub const FLOW_REMOTE_POD: u32 = 1 << 9;
/// Both ends are pods of this node: each end's own entry translates, and sees both directions by itself.
pub const FLOW_NO_TWIN: u32 = 1 << 10;
/// Datagrams to an address of this node that no frontend had when the flow began: one may appear.
pub const FLOW_TO_NODE: u32 = 1 << 11;

/// Seconds for which an expired entry of `CONNTRACK*` may be begun anew in place. The collector leaves it alone
/// for as long.
pub const REUSE_SECONDS: u32 = 5;

/// Seconds that an unanswered TCP flow and any flow without states live.
pub const SHORT_SECONDS: u32 = 60;

/// Value of `NEW_FLOWS_END[0]` (ARRAY of one): until when `NEW_FLOWS*` may hold a live flow, in seconds since boot.
/// Shared by all programs like the flows themselves: what one of them takes for empty, no other may have filled.
pub type NewFlowsEnd = u32;

/// Seconds in which a CPU may begin `NodeConfig::unanswered` flows in `CONNTRACK*` that nobody answers.
pub const UNANSWERED_WINDOW: u32 = 8;

map_types!(
    FlowKey4 = 20,
    FlowKey6 = 44,
    Rewrite4 = 12,
    Rewrite6 = 36,
    FlowState = 24,
    Flow4 = 36,
    Flow6 = 60
);
