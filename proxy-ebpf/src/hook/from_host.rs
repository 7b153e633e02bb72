//! `from_host`: egress of `weir_host`. What the host sends to Services where no socket hook chose a backend, and what
//! its own servers answer to that.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::counters::{FRAGMENT_UNKNOWN, NO_BACKEND, NO_FLOW, NO_SERVICE};

use super::enter::{Work, by_family, describe};
use super::finish::{conclude, finish};
use crate::act::course::HOST;
use crate::act::course::hook::{FORWARDED, FROM_HOST};
use crate::know::{service, vip};
use crate::machine::frame::{ETHERNET, Frame as _};
use crate::machine::skb::Skb;
use crate::machine::verdict::{CONTINUE, ECHO, NEXT, Verdict, dropped};
use crate::machine::words::same;
use crate::maps::{Family, V4, V6};
use crate::packet::description::{Packet, UNKNOWN_FRAGMENT};

/// Group bit of a hardware address' first byte.
const GROUP: u8 = 1;

/// The program.
#[classifier]
pub fn from_host(context: TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    if skb.read::<u8>(0).unwrap_or_default() & GROUP != 0 {
        // Somebody looks for neighbours or routers: there are none.
        return NEXT;
    }
    finish(skb, by_family(skb, run::<V4>, run::<V6>, |_| NEXT))
}

#[inline(always)]
fn run<F: Family>(skb: Skb) -> Verdict {
    let work = match describe::<F>(skb, ETHERNET, 0) {
        Ok(work) => work,
        Err(verdict) => return verdict,
    };
    let at = if skb.ingress_ifindex() == 0 {
        FROM_HOST
    } else {
        FORWARDED
    };
    let verdict = match send(skb, work, at) {
        // Nothing else lies behind this device.
        NEXT => unserved(&work.packet),
        verdict => verdict,
    };
    conclude(skb, work, verdict, at)
}

/// What becomes of a packet that nobody serves. A port that a Service has not is refused; of an address that none has nobody
/// is told, so that who comes a little earlier than the Service asks again.
#[inline(always)]
fn unserved<F: Family>(packet: &Packet<F>) -> Verdict {
    if vip::answers_ping(packet) {
        ECHO
    } else if vip::is_cluster_ip::<F>(&packet.destination)
        || same(&packet.destination, &F::HOST_PEER)
    {
        dropped(NO_BACKEND)
    } else {
        dropped(NO_SERVICE)
    }
}

#[inline(always)]
fn send<F: Family>(skb: Skb, work: &mut Work<F>, at: u32) -> Verdict {
    if work.packet.shape == UNKNOWN_FRAGMENT {
        return dropped(FRAGMENT_UNKNOWN);
    }
    let verdict = work.follow(skb, at);
    if verdict == CONTINUE && same(&work.course.target, &work.packet.tuple) {
        // Tracked where it came from, but nobody's frontend.
        return NEXT;
    }
    if verdict != NEXT {
        return verdict;
    }
    if work.packet.must_open() && !work.packet.opens() {
        return match work.stray() {
            NEXT => dropped(NO_FLOW),
            waits => waits,
        };
    }
    if service::has_frontend(&mut work.packet) != CONTINUE {
        return NEXT;
    }
    work.begin(skb, at, HOST)
}
