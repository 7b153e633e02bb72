//! How much room a packet needs on its way.

use crate::machine::skb::Skb;
use crate::maps::Family;
use crate::packet::description::Packet;

/// The length of a packet, or of its longest segment.
#[inline(always)]
pub fn longest<F: Family>(skb: Skb, packet: &Packet<F>) -> u32 {
    let segment = skb.segment();
    if segment == 0 {
        packet.length
    } else {
        packet.transport - packet.link + u32::from(packet.transport_header) + segment
    }
}
