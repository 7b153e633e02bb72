//! Into the host's stack, past its hooks.

use proxy_common::counters::REWRITE_FAILED;
use proxy_common::host::HOST_DEVICE_MAC;

use crate::know::node;
use crate::machine::frame::Frame as _;
use crate::machine::skb::{INGRESS, Skb, redirect};
use crate::machine::verdict::{NEXT, Verdict, dropped};
use crate::maps::Family;
use crate::packet::description::Packet;

/// Interface index of the loopback, the first of every network namespace.
const LOOPBACK: u32 = 1;

/// Gives the stack a packet from a Service's address, or to a backend on the host: as if `weir_host` had received it,
/// by which the routes to such addresses lead. On any other interface `rp_filter` would drop it.
#[inline(always)]
pub fn by_host_device<F: Family, const OWN: bool>(skb: Skb<OWN>, packet: &Packet<F>) -> Verdict {
    let device = node::host_device();
    if device == 0 {
        return NEXT;
    }
    if ethernet(skb, packet) && skb.put(0, &[HOST_DEVICE_MAC; 2]) {
        redirect(device, INGRESS)
    } else {
        dropped(REWRITE_FAILED)
    }
}

/// Gives the stack an answer to what the host asked itself: as if it came over the loopback, where its own address is no
/// forgery (`net.ipv4.conf.lo.accept_local`).
#[inline(always)]
pub fn by_loopback<F: Family, const OWN: bool>(skb: Skb<OWN>, packet: &Packet<F>) -> Verdict {
    if ethernet(skb, packet) && skb.put(0, &[[0_u8; 6]; 2]) {
        redirect(LOOPBACK, INGRESS)
    } else {
        dropped(REWRITE_FAILED)
    }
}

/// Sees to it that the packet has an Ethernet header.
#[inline(always)]
pub fn ethernet<F: Family, const OWN: bool>(skb: Skb<OWN>, packet: &Packet<F>) -> bool {
    packet.link != 0 || skb.add_ethernet(skb.protocol())
}
