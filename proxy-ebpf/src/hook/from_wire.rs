//! `from_wire`: XDP at a link. What comes from outside for a frontend whose backend is elsewhere, and its answers, is turned
//! and sent out again before the kernel has made a packet of it. All else goes up as it came, to `from_net`, which knows the
//! flow if one was begun here.

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::counters::{NO_BACKEND, SPOOFED_SOURCE, XDP_UP};

use super::enter::Work;
use super::from_net::is_hosts_own;
use super::log;
use crate::act::course::hook::FROM_NET;
use crate::act::follow::{STALE, follow_through};
use crate::act::refuse::count;
use crate::act::relay::is_relayed;
use crate::act::relay_through;
use crate::act::review::review;
use crate::act::through;
use crate::know::{anti_spoof, node};
use crate::machine::frame::{ETH_IP, ETH_IPV6, ETHERNET, Frame as _};
use crate::machine::scratch;
use crate::machine::verdict::{CONTINUE, NEXT, Verdict, dropped, reason};
use crate::machine::xdp::{DROP, UP, Xdp};
use crate::maps::{Family, V4, V6};
use crate::packet::description::{FIN, Packet};
use crate::packet::parse::parse;
use crate::packet::unfinished::is_unfinished;

/// Offset of the Ethernet type.
const TYPE: u32 = 12;

/// The program. It takes frames that are in several pieces, as those of jumbo size are.
#[xdp(frags)]
#[inline(always)]
pub fn from_wire(context: XdpContext) -> u32 {
    let xdp = Xdp::new(context.ctx);
    let verdict = match xdp.read::<u16>(TYPE) {
        Some(ETH_IP) => run::<V4>(xdp),
        Some(ETH_IPV6) => run::<V6>(xdp),
        // Tags as well, where the driver has left them in the frame.
        _ => NEXT,
    };
    if verdict == NEXT {
        count(xdp, XDP_UP);
        return UP;
    }
    let Some(reason) = reason(verdict) else {
        return verdict.cast_unsigned();
    };
    count(xdp, reason);
    log::frame_dropped(xdp, reason);
    DROP
}

#[inline(always)]
fn run<F: Family>(xdp: Xdp) -> Verdict {
    let Some(work) = scratch::room::<Work<F>>() else {
        return NEXT;
    };
    if parse(xdp, &mut work.packet, ETHERNET, 0) != CONTINUE || !is_simple(&work.packet) {
        return NEXT;
    }
    log::note_came::<F>(&work.packet.tuple, &mut work.told);
    let verdict = handle(xdp, work);
    if verdict != NEXT && reason(verdict).is_none() {
        log::frame_sent(xdp, verdict.cast_unsigned(), &mut work.told);
    }
    verdict
}

/// What becomes of a simple packet.
#[inline(always)]
fn handle<F: Family>(xdp: Xdp, work: &mut Work<F>) -> Verdict {
    if is_hosts_own(&work.packet) || is_unfinished(xdp, &work.packet) {
        return NEXT;
    }
    let mut verdict = follow(work, 0);
    if verdict == STALE {
        verdict = review(&mut work.packet, FROM_NET, 0);
        if verdict == CONTINUE {
            verdict = follow(work, 1);
        }
    }
    if verdict == NEXT {
        verdict = begin(xdp, work);
    }
    // What has an end here is tc's from now on.
    if verdict == CONTINUE && work.course.receiver == 0 {
        return if is_relayed(&work.course) {
            relay(xdp, work)
        } else {
            leave(xdp, work)
        };
    }
    match reason(verdict) {
        // Its sender is told.
        Some(reason) if reason != NO_BACKEND => verdict,
        _ => NEXT,
    }
}

/// Not inlined, for the need of stack; so are the next ones.
#[inline(never)]
fn follow<F: Family>(work: &mut Work<F>, reviewed: u32) -> Verdict {
    follow_through(&mut work.packet, &mut work.course, reviewed)
}

#[inline(never)]
fn find_way<F: Family>(xdp: Xdp, work: &mut Work<F>) -> Verdict {
    through::find_way(xdp, &work.packet, &mut work.course)
}

#[inline(never)]
fn turn_association<F: Family>(xdp: Xdp, work: &mut Work<F>) -> Verdict {
    through::turn_association(xdp, &mut work.packet, &work.course)
}

#[inline(never)]
fn send<F: Family>(xdp: Xdp, work: &mut Work<F>) -> Verdict {
    through::send(xdp, &mut work.packet, &work.course)
}

/// What another node turns: to that node, or up for tc to send.
#[inline(always)]
fn relay<F: Family>(xdp: Xdp, work: &mut Work<F>) -> Verdict {
    match find_way_of_relayed(xdp, work) {
        CONTINUE => send_relayed(xdp, work),
        verdict => verdict,
    }
}

#[inline(never)]
fn find_way_of_relayed<F: Family>(xdp: Xdp, work: &mut Work<F>) -> Verdict {
    relay_through::find_way(xdp, &work.packet, &mut work.course)
}

#[inline(never)]
fn send_relayed<F: Family>(xdp: Xdp, work: &mut Work<F>) -> Verdict {
    relay_through::send(xdp, &mut work.packet, &work.course)
}

/// What has its end elsewhere: out of the node, or up for tc to send.
#[inline(always)]
fn leave<F: Family>(xdp: Xdp, work: &mut Work<F>) -> Verdict {
    let mut verdict = find_way(xdp, work);
    if verdict == CONTINUE {
        verdict = turn_association(xdp, work);
    }
    if verdict == CONTINUE {
        verdict = send(xdp, work);
    }
    verdict
}

/// Whether a flow may begin: `CONTINUE`, or what becomes of the packet.
#[inline(never)]
fn may_begin<F: Family>(xdp: Xdp, packet: &Packet<F>) -> Verdict {
    // With FIN as well tc, to which the flow is not new any more, would take it for that of an open one.
    let begins = !packet.must_open() || packet.opens() && packet.tcp & FIN == 0;
    if !begins || node::settles(packet.now) || !through::is_for_link(xdp) {
        return NEXT;
    }
    if anti_spoof::is_forged::<F>(&packet.source) {
        return dropped(SPOOFED_SOURCE);
    }
    CONTINUE
}

/// Whether the packet is of a kind that is handled here: TCP, UDP or SCTP, whole, with nothing before it, and with hops to go.
#[inline(always)]
fn is_simple<F: Family>(packet: &Packet<F>) -> bool {
    matches!(packet.protocol, TCP | UDP | SCTP) && packet.is_plain() && packet.hops > 1
}

/// Begins a flow to a frontend, as tc would, be its backend here or elsewhere.
#[inline(always)]
fn begin<F: Family>(xdp: Xdp, work: &mut Work<F>) -> Verdict {
    match may_begin(xdp, &work.packet) {
        CONTINUE => work.begin_now(xdp, FROM_NET, 0),
        verdict => verdict,
    }
}
