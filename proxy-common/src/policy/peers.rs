//! `PEERS4`, `PEERS6` (HASH) and `CIDRS4`, `CIDRS6` (LPM TRIE): the class of an address.
//!
//! Exact addresses (pods, nodes) are in `PEERS*`; all else falls to the longest prefix in `CIDRS*`, which
//! always holds the prefix of length 0. `side` keeps two generations apart, so that a new one is built
//! whole beside the one in use.

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

/// Key of `PEERS*`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey<A> {
    /// 0 or 1, as in the policy word.
    pub side: u32,
    /// Address of a pod or node.
    pub address: A,
}

/// Data of a key of `CIDRS*` (the trie's prefix length counts from `side`: 32 + prefix).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CidrKey<A> {
    /// 0 or 1; matched whole.
    pub side: u32,
    /// First address of the range.
    pub address: A,
}

/// Key of `PEERS4`.
pub type PeerKey4 = PeerKey<Address4>;
/// Key of `PEERS6`.
pub type PeerKey6 = PeerKey<Address6>;
/// Data of a key of `CIDRS4`.
pub type CidrKey4 = CidrKey<Address4>;
/// Data of a key of `CIDRS6`.
pub type CidrKey6 = CidrKey<Address6>;

/// Value of all four. Eight bytes: read in one load.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// Column of the cell table.
    pub class: u32,
    /// `PEER_*` bits.
    pub flags: u32,
}

/// Address of a pod.
pub const PEER_POD: u32 = 1 << 0;
/// Address of a node.
pub const PEER_NODE: u32 = 1 << 1;
/// Address of this node.
pub const PEER_LOCAL_NODE: u32 = 1 << 2;
/// Address in a pod range that no known pod has.
pub const PEER_UNKNOWN_POD: u32 = 1 << 3;

map_types!(
    PeerKey4 = 8,
    PeerKey6 = 20,
    CidrKey4 = 8,
    CidrKey6 = 20,
    Peer = 8
);
