//! Flows through the node itself: its entries have the source of the packet as the local side.

use proxy_common::counters::{NO_ROUTE, REWRITE_FAILED};
use proxy_common::host::HOST_DEVICE_MAC;

use super::begin::from_frontend;
use super::deliver::hand_over;
use super::flow::{NODE, find, reopens, touch};
use super::node::config;
use super::packet::{MARK_FROM_HOST, Packet};
use super::service::moved;
use super::skb::{Skb, redirect};
use super::verdict::{NEXT, Verdict, dropped};
use super::wire::Wire;

/// `bpf_redirect`: into the interface, as if it had received the packet.
pub const INGRESS: u64 = 1;

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
    from_frontend(packet);
    packet.target = found.rewrite();
    F::rewrite_packet(skb, packet)
}

/// A translated packet of the host's, on its way to its new destination.
#[inline(always)]
pub fn onward_from_host<F: Wire>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    if F::node_address(packet.destination) != 0 {
        return to_host(skb);
    }
    if let Some(pod) = F::local_pod(packet.destination) {
        return hand_over(skb, pod, true);
    }
    skb.set_done();
    match F::route(skb, packet) {
        NEXT => dropped(NO_ROUTE),
        verdict => verdict,
    }
}

/// Gives the stack a packet from a Service's address, or to a backend on the host: as if `weir_host` had received it,
/// by which the routes to such addresses lead. On any other interface `rp_filter` would drop it.
#[inline(always)]
pub fn to_host(skb: Skb) -> Verdict {
    let device = config().host_device;
    if device == 0 {
        return NEXT;
    }
    if skb.store(0, &[HOST_DEVICE_MAC; 2]) {
        redirect(device, INGRESS)
    } else {
        dropped(REWRITE_FAILED)
    }
}
