//! `to_pod`: egress of a pod's interface on the host. What the stack gives to the pod.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::counters::{FRAGMENT_UNKNOWN, UNKNOWN_ENDPOINT};
use proxy_common::endpoints::ENDPOINT_PACED;
use proxy_common::policy::words::ROW_ALLOW_ALL;

use super::enter::{Work, by_family, describe};
use super::finish::{conclude, finish_at_pod};
use crate::act::course::HOST;
use crate::act::course::hook::TO_POD;
use crate::act::pace::pace;
use crate::know::{anti_spoof, endpoint, node, policy};
use crate::machine::frame::{Buffer as _, ETHERNET};
use crate::machine::skb::Skb;
use crate::machine::verdict::{NEXT, Verdict, dropped};
use crate::maps::{Family, V4, V6};
use crate::packet::description::UNKNOWN_FRAGMENT;

/// The program. A packet that has been judged already finds its flow and passes unchanged.
#[classifier]
pub fn to_pod(context: TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    finish_at_pod(skb, by_family(skb, run::<V4>, run::<V6>, |_| NEXT))
}

#[inline(always)]
fn run<F: Family>(skb: Skb) -> Verdict {
    let work = match describe::<F>(skb, ETHERNET, 0) {
        Ok(work) => work,
        Err(verdict) => return verdict,
    };
    if let Some(packet) = work.packet.v6()
        && anti_spoof::is_neighbour(packet)
    {
        return NEXT;
    }
    let verdict = receive(skb, work);
    let verdict = conclude(skb, work, verdict, TO_POD);
    // After policy: what it denies takes nothing of the pod's bandwidth.
    if verdict == NEXT && work.course.receives & ENDPOINT_PACED != 0 {
        return pace(skb);
    }
    verdict
}

/// `CONTINUE`: the pod may have the packet.
#[inline(always)]
fn receive<F: Family>(skb: Skb, work: &mut Work<F>) -> Verdict {
    if work.packet.shape == UNKNOWN_FRAGMENT {
        return fragment(skb, work);
    }
    // As it comes: an answer to be turned round, or a flow that nobody translates.
    let mut verdict = work.follow(skb, TO_POD);
    if verdict == NEXT {
        // Turned round already, before the stack had it.
        verdict = work.follow_turned(skb);
    }
    if verdict != NEXT {
        return verdict;
    }
    // Copies of fragments come without the interface on which they came
    // (<https://elixir.bootlin.com/linux/v6.12/source/net/ipv6/ip6_output.c#L660>): the address must be the host's too.
    let from_host = skb.ingress_ifindex() == 0 && node::any_address::<F>(&work.packet.source) != 0;
    let verdict = work.begin(skb, TO_POD, if from_host { HOST } else { 0 });
    work.know_receiver();
    verdict
}

#[inline(always)]
fn fragment<F: Family>(skb: Skb, work: &mut Work<F>) -> Verdict {
    let Some(id) = endpoint::of_interface(skb.ifindex()) else {
        return dropped(UNKNOWN_ENDPOINT);
    };
    work.course.receives = endpoint::get(id).map_or(0, |pod| pod.flags);
    if policy::word(id).ingress_row == ROW_ALLOW_ALL {
        NEXT
    } else {
        dropped(FRAGMENT_UNKNOWN)
    }
}
