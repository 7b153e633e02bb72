//! Flows through the node itself: its entries have the source of the packet as the local side.

use super::flow::{NODE, find, reopens, touch};
use super::packet::{MARK_FROM_HOST, MARK_FRONTEND, Packet};
use super::service::moved;
use super::skb::Skb;
use super::verdict::{NEXT, Verdict};
use super::wire::Wire;

/// Rewrites a packet of a known flow. `CONTINUE`: done; `NEXT`: no such flow.
#[inline(always)]
pub fn translate<F: Wire>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    packet.key = F::flow_key(NODE, packet.protocol, &packet.flow);
    let Some(found) = find::<F>(&packet.key, packet.now) else {
        return NEXT;
    };
    let outside = packet.marks & MARK_FROM_HOST == 0;
    if reopens(packet, found.state()) || moved(skb, packet, found.state(), outside) {
        F::forget(packet, found.entry, NODE);
        return NEXT;
    }
    touch(packet, NODE, &found, true);
    packet.frontend = packet.flow.to;
    packet.frontend_port = packet.flow.to_port;
    packet.marks |= MARK_FRONTEND;
    packet.target = found.rewrite();
    F::rewrite_packet(skb, packet)
}
