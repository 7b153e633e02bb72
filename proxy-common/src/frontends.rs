//! `FRONTENDS4`, `FRONTENDS6` (HASH): what clients connect to.
//!
//! One entry per family, address, port and protocol. Address 0 (`::`) with a port is a `NodePort` or a
//! `hostPort` on every address of the node that serves such ones (`NODE_ADDRESSES`). One entry holds two backend sets: `internal` serves clients on this node
//! (its pods and itself), `external` serves packets that arrive from outside the node. They differ only
//! under `internalTrafficPolicy` or `externalTrafficPolicy: Local`.
//!
//! `SERVICE_EPOCH` (ARRAY of one, `u32`) is raised after each change of a frontend of datagrams, or of the members of
//! its sets: a flow of datagrams compares itself with its Service when the epoch is another one than last time.

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

/// Key of `FRONTENDS*`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrontendKey<A> {
    /// Address that clients use; unspecified for all of the node's.
    pub address: A,
    /// Port that clients use, network order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
}

/// Key of `FRONTENDS4`.
pub type FrontendKey4 = FrontendKey<Address4>;
/// Key of `FRONTENDS6`.
pub type FrontendKey6 = FrontendKey<Address6>;

/// A backend set as a frontend refers to it: rows `0..count` of `BACKEND_SLOTS` under `id`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BackendSet {
    /// Id of the set; 0 is no set.
    pub id: u32,
    /// How many slots are in use.
    pub count: u32,
}

/// Value of `FRONTENDS4` and `FRONTENDS6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frontend {
    /// Id of the Service port, shared by all its frontends (affinity is per Service port).
    pub service: u32,
    /// `FLAG_*` bits.
    pub flags: u32,
    /// `sessionAffinity: ClientIP` time-out in seconds; 0 is no affinity.
    pub affinity_seconds: u32,
    /// Places in the table of `external` ([`crate::maglev`]); 0 is none: any of its backends.
    pub maglev: u32,
    /// Backends for clients on this node.
    pub internal: BackendSet,
    /// Backends for packets from outside the node.
    pub external: BackendSet,
}

/// Frontend is a cluster IP.
pub const FLAG_CLUSTER_IP: u32 = 1 << 0;
/// Frontend is a `NodePort` (address 0).
pub const FLAG_NODE_PORT: u32 = 1 << 1;
/// Frontend is a load balancer's ingress address.
pub const FLAG_LOAD_BALANCER: u32 = 1 << 2;
/// Frontend is an external IP.
pub const FLAG_EXTERNAL_IP: u32 = 1 << 3;
/// An empty `internal` set means drop (endpoints exist, but not here), not reject.
pub const FLAG_INTERNAL_DROP: u32 = 1 << 4;
/// An empty `external` set means drop, not reject.
pub const FLAG_EXTERNAL_DROP: u32 = 1 << 5;
/// `externalTrafficPolicy: Local`: the client's address is kept, only local backends serve `external`.
pub const FLAG_EXTERNAL_LOCAL: u32 = 1 << 6;
/// UDP or affinity: `BACKEND_MEMBERS` is kept for this frontend's sets.
pub const FLAG_MEMBERS: u32 = 1 << 7;
/// Frontend is the `hostPort` of a pod of this node: on its `hostIP`, or on all addresses (address 0).
pub const FLAG_HOST_PORT: u32 = 1 << 8;
/// A load balancer's address that only serves who is in `SOURCES*`.
pub const FLAG_SOURCES: u32 = 1 << 9;
/// What comes from outside for a backend on another node goes to that node as it is, by the tunnel, and the answers come back.
pub const FLAG_RELAYED: u32 = 1 << 10;
/// With [`FLAG_RELAYED`]: that node answers the client itself (direct server return).
pub const FLAG_DIRECT: u32 = 1 << 11;

map_types!(
    FrontendKey4 = 8,
    FrontendKey6 = 20,
    BackendSet = 8,
    Frontend = 32
);
