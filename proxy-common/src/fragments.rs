//! `FRAGMENTS4`, `FRAGMENTS6` (LRU HASH): ports of a datagram whose first fragment went by.
//!
//! They are noted before the sender's address is checked, so what a pod sends is kept apart by its interface: it
//! cannot say of other pods' fragments where they go.

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

/// Key of `FRAGMENTS*`, in the packet's own words, before translation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FragmentKey<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Identification, as on the wire, zero-extended.
    pub identification: u32,
    /// Index of the pod's interface on which it came; 0 if it came from elsewhere.
    pub scope: u32,
    /// IP protocol number of the payload.
    pub protocol: u32,
}

/// Key of `FRAGMENTS4`.
pub type FragmentKey4 = FragmentKey<Address4>;
/// Key of `FRAGMENTS6`.
pub type FragmentKey6 = FragmentKey<Address6>;

/// Value of both.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentPorts {
    /// Source port, network order.
    pub source_port: u16,
    /// Destination port, network order.
    pub destination_port: u16,
}

map_types!(FragmentKey4 = 20, FragmentKey6 = 44, FragmentPorts = 4);
