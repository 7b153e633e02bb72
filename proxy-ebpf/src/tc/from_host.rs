//! `from_host`: egress of `weir_host`. What the host sends to Services where no socket hook chose a backend, and what
//! its own servers answer to that.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::counters::{FRAGMENT_UNKNOWN, NO_BACKEND};

use super::at_node::{INGRESS, onward_from_host, translate};
use super::enter::{by_family, describe};
use super::packet::{ERROR, MARK_EGRESS, MARK_FORWARDED, MARK_FROM_HOST, UNKNOWN_FRAGMENT};
use super::skb::{Skb, redirect};
use super::verdict::{CONTINUE, NEXT, Verdict, count, dropped, finish};
use super::wire::Wire;
use crate::maps::{V4, V6};

/// Group bit of a hardware address' first byte.
const GROUP: u8 = 1;

/// The program.
#[classifier]
pub fn from_host(context: TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    let receiver = skb.read::<[u8; 6]>(0).unwrap_or_default();
    if receiver[0] & GROUP != 0 {
        // Somebody looks for neighbours or routers: there are none.
        return NEXT;
    }
    finish(skb, by_family(skb, run::<V4>, run::<V6>))
}

#[inline(always)]
fn run<F: Wire>(skb: Skb) -> Verdict {
    let mut marks = MARK_FROM_HOST | MARK_EGRESS;
    if skb.ingress_ifindex() != 0 {
        marks |= MARK_FORWARDED;
    }
    let packet = match describe::<F>(skb, marks) {
        Ok(packet) => packet,
        Err(verdict) => return verdict,
    };
    if packet.shape == UNKNOWN_FRAGMENT {
        return dropped(FRAGMENT_UNKNOWN);
    }
    let mut verdict = translate(skb, packet);
    if verdict == NEXT && packet.shape != ERROR {
        verdict = F::begin_at_node(skb, packet);
    }
    if verdict == CONTINUE {
        return onward_from_host(skb, packet);
    }
    if verdict != NEXT && verdict != dropped(NO_BACKEND) {
        return verdict;
    }
    // Nobody serves there, and nothing else lies behind this device.
    verdict = F::reject(skb, packet);
    if verdict != CONTINUE {
        return verdict;
    }
    count(skb, NO_BACKEND);
    redirect(skb.ifindex(), INGRESS)
}
