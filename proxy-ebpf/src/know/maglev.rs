//! Consistent hashing: the choice that all nodes make alike for what comes from outside (`proxy_common::maglev`).

use proxy_common::frontends::{FLAG_NODE_PORT, Frontend};
use proxy_common::maglev::{CHUNK, FlowHash, MaglevKey};

use super::node;
use crate::machine::words::opaque;
use crate::maps::{Family, MAGLEV};
use crate::packet::description::Packet;

/// The hash of a packet's flow to a frontend, of what all nodes see alike. With affinity of the client's address alone, so
/// that all its flows to a Service port have one backend; without, of its port too and of what it asks: of a `NodePort` not the
/// address, which is another on each node.
#[inline(always)]
pub fn hash<F: Family>(packet: &Packet<F>, frontend: &Frontend) -> u32 {
    let seed = node::config().map_or(0, |config| config.maglev_seed);
    let flow = &packet.tuple;
    let mut hash = FlowHash::new(seed).with_address(F::as_ipv6(flow.source));
    if frontend.affinity_seconds == 0 {
        if frontend.flags & FLAG_NODE_PORT == 0 {
            hash = hash.with_address(F::as_ipv6(flow.destination));
        }
        let ports = u32::from(flow.source_port) << 16 | u32::from(flow.destination_port);
        hash = hash.with(ports).with(u32::from(packet.protocol));
    }
    hash.finish()
}

/// The slot of a set that its table of this size has for a hash. None: the table is not there.
#[inline(always)]
pub fn slot(set: u32, size: u32, hash: u32) -> Option<u32> {
    let place = hash.checked_rem(size)?;
    let key = MaglevKey {
        set,
        size: size as u16,
        chunk: (place / CHUNK) as u16,
    };
    // SAFETY: the agent replaces chunks whole; of one a single word is read.
    let chunk = unsafe { MAGLEV.get(key) }?;
    // The verifier does not know what a remainder is below.
    let within = opaque(u64::from(place % CHUNK));
    if within >= u64::from(CHUNK) {
        return None;
    }
    // SAFETY: below CHUNK.
    let slot = unsafe { chunk.slots.get_unchecked(within as usize) };
    Some(u32::from(*slot))
}
