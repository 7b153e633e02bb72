//! `from_lo`: egress of the loopback. What the host sends to Services at its own addresses where no socket hook chose a
//! backend, and what its own servers answer to that.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use super::enter::{Work, by_family, describe};
use super::finish::{conclude, finish};
use crate::act::course::HOST;
use crate::act::course::hook::LOOPBACK;
use crate::know::{node, service};
use crate::machine::frame::ETHERNET;
use crate::machine::skb::Skb;
use crate::machine::verdict::{CONTINUE, NEXT, Verdict};
use crate::maps::{Family, V4, V6};
use crate::packet::description::Packet;

/// The program.
#[classifier]
pub fn from_lo(context: TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    finish(skb, by_family(skb, run::<V4>, run::<V6>, |_| NEXT))
}

#[inline(always)]
fn run<F: Family>(skb: Skb) -> Verdict {
    // The host may send itself what it likes.
    let Ok(work) = describe::<F>(skb, ETHERNET, 0) else {
        return NEXT;
    };
    if !matters(&work.packet) {
        return NEXT;
    }
    let verdict = send(skb, work);
    conclude(skb, work, verdict, LOOPBACK)
}

/// Whether the packet can concern more than a socket of the host, told without a look-up.
#[inline(always)]
fn matters<F: Family>(packet: &Packet<F>) -> bool {
    let ports = &packet.tuple;
    packet.has_ports()
        && (node::port_serves(ports.destination_port) || node::port_serves(ports.source_port))
}

#[inline(always)]
fn send<F: Family>(skb: Skb, work: &mut Work<F>) -> Verdict {
    let verdict = work.follow(skb, LOOPBACK);
    if verdict != NEXT {
        return verdict;
    }
    let begins = work.packet.opens() || !work.packet.must_open();
    if !begins {
        return work.stray();
    }
    if service::has_frontend(&mut work.packet) != CONTINUE {
        return NEXT;
    }
    work.begin(skb, LOOPBACK, HOST)
}
