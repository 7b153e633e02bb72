//! `INSIDE4`, `INSIDE6` (LPM TRIE): addresses that pods reach under their own address. To all others, out of the cluster, they
//! speak in the node's name (masquerade), where `NODE_MASQUERADE*` is set.

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

/// Value of both: why an address is inside.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inside {
    /// [`INSIDE_PODS`] and so on.
    pub reason: u32,
}

/// Data of a key of `INSIDE4`: the prefix, which the trie's key has behind its length.
pub type InsideKey4 = Address4;
/// Data of a key of `INSIDE6`.
pub type InsideKey6 = Address6;

/// Pods of a node, or of the whole cluster.
pub const INSIDE_PODS: u32 = 1;
/// A node.
pub const INSIDE_NODE: u32 = 2;
/// Services.
pub const INSIDE_SERVICES: u32 = 3;
/// The configuration says so.
pub const INSIDE_CONFIGURED: u32 = 4;
/// On the link itself.
pub const INSIDE_LINK_LOCAL: u32 = 5;
/// For many receivers, which no flow has.
pub const INSIDE_MULTICAST: u32 = 6;

/// Name of a reason; `unknown` for a number that this version does not know.
#[must_use]
pub const fn inside_name(reason: u32) -> &'static str {
    match reason {
        INSIDE_PODS => "pods",
        INSIDE_NODE => "node",
        INSIDE_SERVICES => "services",
        INSIDE_CONFIGURED => "configured",
        INSIDE_LINK_LOCAL => "link-local",
        INSIDE_MULTICAST => "multicast",
        _ => "unknown",
    }
}

map_types!(Inside = 4);
