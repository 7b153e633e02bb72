//! What every program at an interface ends with.

use proxy_common::counters::{HOP_LIMIT, NO_BACKEND, NO_FLOW, NO_ROUTE, TOO_BIG};

use super::enter::Work;
use super::log;
use crate::act::course::hook::FROM_NET;
use crate::act::forward::forward;
use crate::act::refuse::{answer_ping, count, tell};
use crate::know::node;
use crate::machine::frame::Buffer as _;
use crate::machine::skb::Skb;
use crate::machine::verdict::{CONTINUE, ECHO, NEXT, PASS, SHOT, Verdict, dropped, reason};
use crate::machine::words::{copy, to_stack};
use crate::maps::Family;
use crate::packet::answer::{self, REFUSED};
use crate::packet::description::Packet;

/// The kernel's action for a verdict; drops are counted.
#[inline(always)]
pub(super) fn finish(skb: Skb, verdict: Verdict) -> i32 {
    let Some(reason) = reason(verdict) else {
        return verdict;
    };
    count(skb, reason);
    log::dropped(skb, reason);
    SHOT
}

/// As [`finish`], at the hooks of pods' interfaces: whoever comes first there has the last word. The same program
/// hangs at them twice, as a TCX link and as a filter of clsact, and the kernel asks the filter when the link says
/// `NEXT` (<https://elixir.bootlin.com/linux/v6.8/source/net/core/dev.c#L4042>): the packet would be tracked twice.
#[inline(always)]
pub(super) fn finish_at_pod(skb: Skb, verdict: Verdict) -> i32 {
    match finish(skb, verdict) {
        NEXT => PASS,
        action => action,
    }
}

/// Sends the packet in hand on at a hook (`course::hook`) if `verdict` says `CONTINUE`, and tells its sender if there is
/// something to be told.
#[inline(always)]
pub(super) fn conclude<F: Family>(
    skb: Skb,
    work: &mut Work<F>,
    mut verdict: Verdict,
    at: u32,
) -> Verdict {
    if verdict == CONTINUE {
        verdict = forward(skb, &mut work.packet, &mut work.course, at);
    }
    if verdict == ECHO {
        return echo(skb, work, at);
    }
    match reason(verdict) {
        Some(reason) => tell_why(skb, work, reason, at),
        None => verdict,
    }
}

/// Answers an echo request for a Service. Not inlined, as `tell_why`.
#[inline(never)]
fn echo<F: Family>(skb: Skb, work: &mut Work<F>, at: u32) -> Verdict {
    answer_ping(skb, &mut work.packet, &work.speaker, at)
}

/// The node's name for whoever sent a packet at a hook: outside, its address of the link.
#[inline(always)]
fn own_name<F: Family>(skb: Skb, packet: &Packet<F>, at: u32) -> F::Address {
    if at == FROM_NET {
        node::source_by::<F>(skb.ifindex(), &to_stack(&packet.source))
    } else {
        node::own::<F>()
    }
}

/// Tells the sender of a packet what it should know: nobody serves, in the Service's name; or the way ends here, in the
/// node's. All else is dropped in silence. Not inlined, for its need of stack is not that of packets which get through.
#[inline(never)]
pub(super) fn tell_why<F: Family>(skb: Skb, work: &mut Work<F>, reason: u32, at: u32) -> Verdict {
    let kind = match reason {
        NO_BACKEND | NO_FLOW => REFUSED,
        NO_ROUTE => answer::NO_ROUTE,
        HOP_LIMIT => answer::NO_HOPS,
        TOO_BIG => answer::TOO_BIG,
        _ => return dropped(reason),
    };
    if kind == REFUSED {
        // SAFETY: two values made of words.
        unsafe {
            copy(
                &raw const work.packet.destination,
                &raw mut work.speaker.address,
            );
        }
    } else {
        work.speaker.address = own_name::<F>(skb, &work.packet, at);
    }
    let mtu = work.course.mtu;
    tell(
        skb,
        &mut work.packet,
        &work.speaker,
        [at, reason, kind, mtu],
    )
}
