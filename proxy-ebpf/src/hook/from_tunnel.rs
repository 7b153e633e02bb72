//! `from_tunnel`: ingress of the tunnel's device. What other nodes send to pods here, and their pods to the node.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::counters::{NO_ROUTE, NOT_A_PEER, RELAY_ASTRAY};

use super::enter::{Work, by_family, describe};
use super::finish::{conclude, finish};

use super::from_net::{is_here, is_hosts_own, receive};
use crate::act::course::hook::{FROM_NET, RELAYED};
use crate::act::tunnel::admit;
use crate::know::relay;
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
    let admitted = admit::<F>(skb);
    if admitted != CONTINUE && !relay::is_on() {
        return admitted;
    }
    let work = match describe::<F>(skb, ETHERNET, 0) {
        Ok(work) => work,
        Err(verdict) => return verdict,
    };
    work.from[0] = FROM_NET;
    if admitted != CONTINUE {
        let verdict = work.come_by_relay(skb);
        if verdict != CONTINUE {
            return verdict;
        }
        work.from[0] = RELAYED;
    } else if is_hosts_own(&work.packet) {
        return NEXT;
    }
    let at = work.from[0];
    let verdict = receive(skb, work, at);
    let mut verdict = work.let_go(skb, verdict);
    if verdict == NEXT {
        verdict = left_over(work);
    }
    let at = work.from[0];
    conclude(skb, work, verdict, at)
}

/// What becomes of what is none of ours: the stack would send it on, perhaps round in circles.
#[inline(always)]
fn left_over<F: Family>(work: &Work<F>) -> Verdict {
    if work.from[0] == RELAYED {
        dropped(RELAY_ASTRAY)
    } else if is_here(&work.packet) {
        NEXT
    } else {
        dropped(NO_ROUTE)
    }
}
