//! Addresses of Services, whatever the port.

use proxy_common::node::NODE_ANSWER_PING;
use proxy_common::vips::{VIP_CLUSTER_IP, VIP_SERVED};

use super::node;
use crate::machine::words::to_stack;
use crate::maps::Family;
use crate::packet::description::{Packet, WHOLE};

/// Whether an address is a Service's cluster IP.
#[inline(always)]
pub fn is_cluster_ip<F: Family>(address: &F::Address) -> bool {
    bits::<F>(address) & VIP_CLUSTER_IP != 0
}

/// Whether a packet is an echo request that is to be answered for a Service.
#[inline(always)]
pub fn answers_ping<F: Family>(packet: &Packet<F>) -> bool {
    packet.asks()
        && packet.shape == WHOLE
        && node::is_set(NODE_ANSWER_PING)
        && bits::<F>(&packet.destination) & VIP_SERVED != 0
}

/// Not inlined, for the need of stack.
#[inline(never)]
fn bits<F: Family>(address: &F::Address) -> u32 {
    // SAFETY: one word, read at once.
    unsafe { F::vips().get(to_stack(address)) }.map_or(0, |bits| *bits)
}
