//! `SOURCES4`, `SOURCES6` (LPM TRIE): who may use the load balancer's addresses of a Service port
//! (`spec.loadBalancerSourceRanges`). Only asked for frontends with `FLAG_SOURCES`; a source that is in none of its
//! port's ranges is dropped. The value is one of `SOURCE_*`.

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

/// Data of a key of `SOURCES*` (the trie's prefix length counts from `service`: 32 + prefix).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceKey<A> {
    /// Id of the Service port; matched whole.
    pub service: u32,
    /// First address of the range.
    pub address: A,
}

/// Data of a key of `SOURCES4`.
pub type SourceKey4 = SourceKey<Address4>;
/// Data of a key of `SOURCES6`.
pub type SourceKey6 = SourceKey<Address6>;

/// The Service names the range, or it is a load balancer's address and the Service names the node's: what a node sends
/// to such an address that it has itself comes from there.
pub const SOURCE_ALLOWED: u32 = 1;

map_types!(SourceKey4 = 8, SourceKey6 = 20);
