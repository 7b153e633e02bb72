//! `from_tunnel`: ingress of the tunnel's device. What other nodes send to pods here, and their pods to the node.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::counters::{NO_ROUTE, NOT_A_PEER};

use super::enter::{by_family, describe};
use super::finish::{conclude, finish};
use super::from_net::{is_here, is_hosts_own, receive};
use crate::act::course::hook::FROM_NET;
use crate::act::tunnel::admit;
use crate::machine::frame::ETHERNET;
use crate::machine::skb::Skb;
use crate::machine::verdict::{CONTINUE, NEXT, Verdict, dropped};
use crate::maps::{Family, V4, V6};

/// The program.
#[classifier]
pub fn from_tunnel(context: TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    skb.set_begun();
    finish(skb, frame(skb))
}

#[inline(always)]
fn frame(skb: Skb) -> Verdict {
    if !skb.is_for_us() || skb.is_tagged() {
        return dropped(NOT_A_PEER);
    }
    by_family(skb, run::<V4>, run::<V6>, |_| dropped(NOT_A_PEER))
}

#[inline(always)]
fn run<F: Family>(skb: Skb) -> Verdict {
    let verdict = admit::<F>(skb);
    if verdict != CONTINUE {
        return verdict;
    }
    let work = match describe::<F>(skb, ETHERNET, 0) {
        Ok(work) => work,
        Err(verdict) => return verdict,
    };
    if is_hosts_own(&work.packet) {
        return NEXT;
    }
    let verdict = receive(skb, work);
    let mut verdict = work.let_go(skb, verdict);
    if verdict == NEXT && !is_here(&work.packet) {
        // The stack would send it on, perhaps round in circles.
        verdict = dropped(NO_ROUTE);
    }
    conclude(skb, work, verdict, FROM_NET)
}
