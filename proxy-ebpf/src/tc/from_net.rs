//! `from_net`: ingress of the uplink. What comes to the node from outside.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::counters::NO_BACKEND;

use super::at_node::translate;
use super::deliver;
use super::enter::{by_family, describe};
use super::node::forwards;
use super::packet::{ERROR, MARK_FROM_NET, Packet, UNKNOWN_FRAGMENT};
use super::skb::{Skb, redirect};
use super::verdict::{CONTINUE, NEXT, Verdict, count, dropped, finish};
use super::wire::Wire;
use crate::maps::{V4, V6};

/// The program.
#[classifier]
pub fn from_net(context: TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    finish(skb, by_family(skb, run::<V4>, run::<V6>))
}

#[inline(always)]
fn run<F: Wire>(skb: Skb) -> Verdict {
    let packet = match describe::<F>(skb, MARK_FROM_NET) {
        Ok(packet) => packet,
        Err(verdict) => return verdict,
    };
    // Plain traffic to pods of this node, which is most of it.
    let bpf = forwards();
    if bpf {
        let verdict = deliver::deliver(skb, packet);
        if verdict != CONTINUE {
            return verdict;
        }
    } else if F::local_pod(packet.destination).is_some() {
        return NEXT;
    }
    if packet.shape == UNKNOWN_FRAGMENT {
        return NEXT;
    }
    let mut verdict = translate(skb, packet);
    if verdict == NEXT && packet.shape != ERROR {
        verdict = F::begin_at_node(skb, packet);
    }
    if verdict == dropped(NO_BACKEND) {
        verdict = F::reject(skb, packet);
        if verdict == CONTINUE {
            count(skb, NO_BACKEND);
            return redirect(skb.ifindex(), 0);
        }
    }
    if verdict != CONTINUE {
        return verdict;
    }
    onward(skb, packet, bpf)
}

/// Where a translated packet goes.
#[inline(always)]
fn onward<F: Wire>(skb: Skb, packet: &mut Packet<F>, bpf: bool) -> Verdict {
    if bpf {
        let verdict = deliver::deliver(skb, packet);
        if verdict != CONTINUE {
            return verdict;
        }
    } else if F::local_pod(packet.destination).is_some() {
        return NEXT;
    }
    if F::node_address(packet.destination) != 0 {
        return NEXT;
    }
    // It bears an address of ours as its source: the stack would take it for a forgery.
    F::route(skb, packet)
}
