//! `from_pod`: ingress of a pod's interface on the host. What the pod sends.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::counters::{
    FRAGMENT_UNKNOWN, SPOOFED_SOURCE, UNKNOWN_ENDPOINT, UNSUPPORTED_FRAME,
};
use proxy_common::endpoints::{Endpoint, QUEUE_ENTRY};

use super::arp;
use super::enter::{Work, by_family, describe};
use super::finish::{conclude, finish_at_pod};
use crate::act::course::hook::FROM_POD;
use crate::know::{anti_spoof, endpoint};
use crate::machine::frame::{Buffer as _, ETH_ARP, ETHERNET};
use crate::machine::skb::{Skb, redirect};
use crate::machine::verdict::{CONTINUE, NEXT, SHOT, Verdict, dropped};
use crate::machine::words::same;
use crate::maps::{Family, V4, V6};
use crate::packet::description::{ERROR, UNKNOWN_FRAGMENT};
use crate::packet::hold::hold;

/// The program.
#[classifier]
pub fn from_pod(context: TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    finish_at_pod(skb, frame(skb))
}

/// Nothing but IP and ARP, and no VLAN: below a tag there may be another one, which the stack takes off behind our back
/// (<https://elixir.bootlin.com/linux/v6.12/source/net/core/dev.c#L5531>).
#[inline(always)]
fn frame(skb: Skb) -> Verdict {
    skb.set_begun();
    if skb.is_tagged() {
        return dropped(UNSUPPORTED_FRAME);
    }
    by_family(skb, run::<V4>, run::<V6>, |kind| {
        if kind == ETH_ARP {
            arp::answer(skb)
        } else {
            dropped(UNSUPPORTED_FRAME)
        }
    })
}

#[inline(always)]
fn run<F: Family>(skb: Skb) -> Verdict {
    let work = match describe::<F>(skb, ETHERNET, skb.ifindex()) {
        Ok(work) => work,
        Err(verdict) => return verdict,
    };
    let verdict = send(skb, work);
    let verdict = work.let_go(skb, verdict);
    conclude(skb, work, verdict, FROM_POD)
}

/// Tracking, translation and policy. `CONTINUE`: the packet may go on its course.
#[inline(always)]
fn send<F: Family>(skb: Skb, work: &mut Work<F>) -> Verdict {
    let shape = work.packet.shape;
    if shape == ERROR && !anti_spoof::has_got_it(&work.packet) {
        return dropped(SPOOFED_SOURCE);
    }
    // A pod is no router: an error about somebody else's packet is vouched for by no flow.
    let stray = shape == ERROR && !same(&work.packet.destination, &work.packet.tuple.destination);
    if shape != UNKNOWN_FRAGMENT && !stray {
        let verdict = work.follow(skb, FROM_POD);
        if verdict != NEXT {
            return verdict;
        }
    }
    let Some(id) = endpoint::of_interface(skb.ifindex()) else {
        return dropped(UNKNOWN_ENDPOINT);
    };
    let Some(own) = endpoint::get(id) else {
        return dropped(UNKNOWN_ENDPOINT);
    };
    let verdict = queue(skb, work, own);
    if verdict != CONTINUE {
        return verdict;
    }
    let verdict = anti_spoof::check(own, &mut work.packet);
    if verdict != CONTINUE {
        return verdict;
    }
    if shape == UNKNOWN_FRAGMENT {
        return late(skb, work, id);
    }
    work.begin(skb, FROM_POD, id)
}

/// Sends what a limited pod sends through its queue, at whose end this program sees it again. A device of the kind that
/// gives packets back where they came from (`ifb`) would do so behind our back: `tc_skip_classify` in
/// <https://elixir.bootlin.com/linux/v6.12/source/drivers/net/ifb.c#L114>. Neighbour discovery is between the pod and the
/// interface itself.
#[inline(always)]
fn queue<F: Family>(skb: Skb, work: &mut Work<F>, own: &Endpoint) -> Verdict {
    let v6 = work.packet.v6();
    if own.sends_at() == skb.device() || v6.is_some_and(|packet| anti_spoof::stays_here(packet)) {
        CONTINUE
    } else if own.ifindex == skb.device() {
        redirect(own.ifindex | QUEUE_ENTRY, 0)
    } else {
        // Its limit was lifted while the packet was in the queue.
        SHOT
    }
}

/// Without ports there is no telling where a fragment goes: it is held until the first one comes.
#[inline(always)]
fn late<F: Family>(skb: Skb, work: &mut Work<F>, id: u32) -> Verdict {
    if hold(skb, &mut work.packet, 0) == CONTINUE {
        return SHOT;
    }
    if work.packet.shape == UNKNOWN_FRAGMENT {
        return dropped(FRAGMENT_UNKNOWN);
    }
    match work.follow(skb, FROM_POD) {
        NEXT => work.begin(skb, FROM_POD, id),
        verdict => verdict,
    }
}
