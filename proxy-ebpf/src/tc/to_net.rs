//! `to_net`: egress of the uplink. Answers of the host, and what it sends to Services' addresses that are not routed to
//! `weir_host`.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::counters::NO_BACKEND;

use super::address::same;
use super::at_node::{INGRESS, onward_from_host, translate};
use super::enter::{by_family, describe};
use super::node::forwards;
use super::packet::{ERROR, MARK_EGRESS, MARK_FROM_HOST, UNKNOWN_FRAGMENT};
use super::skb::{Skb, redirect};
use super::verdict::{CONTINUE, NEXT, Verdict, count, dropped, finish};
use super::wire::Wire;
use crate::maps::{V4, V6};

/// The program.
#[classifier]
pub fn to_net(context: TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    finish(skb, by_family(skb, run::<V4>, run::<V6>))
}

#[inline(always)]
fn run<F: Wire>(skb: Skb) -> Verdict {
    if skb.is_done() {
        return NEXT;
    }
    let from_host = skb.ingress_ifindex() == 0;
    // What the programs forward is finished; what the stack forwards may need its source back.
    if !from_host && forwards() {
        return NEXT;
    }
    let marks = if from_host {
        MARK_FROM_HOST | MARK_EGRESS
    } else {
        MARK_EGRESS
    };
    let Ok(packet) = describe::<F>(skb, marks) else {
        // The host may send what it likes.
        return NEXT;
    };
    if packet.shape == UNKNOWN_FRAGMENT {
        return NEXT;
    }
    let destination = packet.destination;
    let mut verdict = translate(skb, packet);
    if verdict == NEXT && from_host && packet.shape != ERROR {
        verdict = F::begin_at_node(skb, packet);
    }
    if verdict == dropped(NO_BACKEND) {
        verdict = F::reject(skb, packet);
        if verdict == CONTINUE {
            count(skb, NO_BACKEND);
            return redirect(skb.ifindex(), INGRESS);
        }
    }
    if verdict != CONTINUE || same(&packet.destination, &destination) {
        // An answer of the host: its way stays the same.
        return verdict;
    }
    onward_from_host(skb, packet)
}
