//! Which nodes relay packets from outside to each other.

use proxy_common::node::NODE_RELAYS;
use proxy_common::tunnel::{Relay, TUNNEL_CLOSED, TUNNEL_ENCRYPTED, TUNNEL_NODE};

use super::{node, tunnel};
use crate::machine::words::{same, to_stack};
use crate::maps::Family;

/// Whether the tunnel takes what is relayed.
#[inline(always)]
pub fn is_on() -> bool {
    node::is_set(NODE_RELAYS)
}

/// Where the node of a backend ends the tunnel, IPv4 mapped to IPv6; none if it is not reached so.
#[inline(always)]
pub fn to<F: Family>(backend: &F::Address) -> Option<Relay> {
    let peer = tunnel::peer::<F>(&to_stack(backend))?;
    let by_tunnel = peer.flags & (TUNNEL_ENCRYPTED | TUNNEL_CLOSED) == 0;
    by_tunnel.then_some(peer.address)
}

/// Whether an address is another node's, or one of its pods': what those ask is not relayed.
#[inline(always)]
pub fn is_peers<F: Family>(address: &F::Address) -> bool {
    tunnel::peer::<F>(&to_stack(address)).is_some()
}

/// Whether a node ends the tunnel at an address.
#[inline(always)]
pub fn is_end<F: Family>(end: &F::Address) -> bool {
    let mapped = F::as_ipv6(*end);
    tunnel::peer::<F>(&to_stack(end))
        .is_some_and(|peer| peer.flags & TUNNEL_NODE != 0 && same(&peer.address, &mapped))
}
