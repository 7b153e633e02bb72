//! Which nodes relay packets from outside to each other.

use proxy_common::address::is_mapped;
use proxy_common::node::{NODE_NARROW, NODE_RELAYS};
use proxy_common::tunnel::{Relay, TUNNEL_CLOSED, TUNNEL_ENCRYPTED, TUNNEL_NODE};

use super::{node, tunnel};
use crate::machine::words::{same, to_stack};
use crate::maps::{Family, V4, V6};

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

/// The `TUNNEL_*` bits of the node that ends the tunnel at an address, IPv4 mapped to IPv6, if ways differ in room; else 0.
#[inline(always)]
pub fn of_end(end: &Relay) -> u32 {
    if !node::is_set(NODE_NARROW) {
        return 0;
    }
    let peer = if is_mapped(end) {
        tunnel::peer::<V4>(&end[3])
    } else {
        tunnel::peer::<V6>(&to_stack(end))
    };
    peer.map_or(0, |peer| peer.flags)
}

/// Whether a node ends the tunnel at an address.
#[inline(always)]
pub fn is_end<F: Family>(end: &F::Address) -> bool {
    let mapped = F::as_ipv6(*end);
    tunnel::peer::<F>(&to_stack(end))
        .is_some_and(|peer| peer.flags & TUNNEL_NODE != 0 && same(&peer.address, &mapped))
}
