//! `AFFINITY` (LRU HASH): which backend served a client of a Service port last (`sessionAffinity: ClientIP`).

use crate::{address::Address6, pod::map_types};

/// Key of `AFFINITY`. Protocol and family are parts of the Service port's id.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AffinityKey {
    /// Client address, IPv4 mapped into IPv6. In the socket programs, where the source is not yet chosen, it is the
    /// pod's (`CLIENTS`) or the node's (`NODE_CONFIG`, also of what the host sends packet by packet); of a namespace
    /// that is neither, `[CLIENT_NETNS, 0, cookie_high, cookie_low]`.
    pub client: Address6,
    /// Id of the Service port.
    pub service: u32,
}

/// First word of a client that is a network namespace cookie.
pub const CLIENT_NETNS: u32 = u32::MAX;

/// Value of `AFFINITY`. Valid while `last_used` + time-out is not over and the set still has the backend.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Affinity {
    /// Id of the backend.
    pub backend: u32,
    /// Seconds since boot, see [`crate::time`].
    pub last_used: u32,
}

map_types!(AffinityKey = 20, Affinity = 8);
