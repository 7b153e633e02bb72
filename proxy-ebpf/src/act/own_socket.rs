//! Datagrams that answer a socket of the host, though no flow tells that it asked: it is older than the programs, or has been
//! silent for longer than flows live.

use proxy_common::address::UDP;

use super::course::hook;
use crate::know::node;
use crate::machine::frame::Buffer;
use crate::machine::global::global;
use crate::machine::socket::is_connected;
use crate::machine::verdict::{CONTINUE, NEXT, Verdict};
use crate::machine::words::to_stack;
use crate::maps::Family;
use crate::packet::description::Packet;

global! {
    /// Whether (`NEXT`) a packet that begins a flow at a hook (`course::hook`) is for a socket of the host that is connected to its
    /// sender.
    pub fn is_hosts(buffer, packet: Packet; at) = asked
}

#[inline(always)]
fn asked<B: Buffer, F: Family>(buffer: B, packet: &mut Packet<F>, at: u32) -> Verdict {
    if packet.protocol != UDP || at != hook::FROM_NET {
        return CONTINUE;
    }
    if node::any_address::<F>(&to_stack(&packet.tuple.destination)) == 0 {
        return CONTINUE;
    }
    let mut ends = to_stack(&packet.tuple);
    if is_connected(buffer, &mut ends) {
        NEXT
    } else {
        CONTINUE
    }
}
