//! `from_net`: ingress of the uplink. What comes to the node from outside.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::counters::{INVALID_PACKET, NO_BACKEND};
use proxy_common::time::seconds;

use super::at_node::translate;
use super::node::forwards;
use super::packet::{ERROR, MARK_FROM_NET, Packet, UNKNOWN_FRAGMENT};
use super::skb::{Skb, redirect};
use super::verdict::{CONTINUE, NEXT, Verdict, count, dropped, finish};
use super::wire::Wire;
use super::{ETH_IP, ETH_IPV6, deliver, scratch};
use crate::maps::{V4, V6};

/// The program.
#[classifier]
pub fn from_net(context: TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    let verdict = match skb.protocol() {
        ETH_IP => run::<V4>(skb),
        ETH_IPV6 => run::<V6>(skb),
        _ => NEXT,
    };
    finish(skb, verdict)
}

#[inline(always)]
fn run<F: Wire>(skb: Skb) -> Verdict {
    let Some(packet) = scratch::packet::<F>(MARK_FROM_NET) else {
        return dropped(INVALID_PACKET);
    };
    // SAFETY: a helper without arguments.
    packet.now = seconds(unsafe { bpf_ktime_get_coarse_ns() });
    let verdict = F::read(skb, packet);
    if verdict != CONTINUE {
        return verdict;
    }
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
