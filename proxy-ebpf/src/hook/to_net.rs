//! `to_net`: egress of a link. Answers of the host, and what it sends to Services' addresses that are not routed to
//! `weir_host`. `to_net_bare`: the same of a link without Ethernet header.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::address::TCP;

use super::enter::{Work, by_family, describe};
use super::finish::{conclude, finish};
use crate::act::course::HOST;
use crate::act::course::hook::{FORWARDED, FROM_HOST};
use crate::know::node;
use crate::machine::frame::ETHERNET;
use crate::machine::skb::Skb;
use crate::machine::verdict::{CONTINUE, NEXT, Verdict};
use crate::maps::{Family, V4, V6};
use crate::packet::description::Packet;

/// The program of links with an Ethernet header.
#[classifier]
pub fn to_net(context: TcContext) -> i32 {
    entry::<ETHERNET>(&context)
}

/// The program of links without.
#[classifier]
pub fn to_net_bare(context: TcContext) -> i32 {
    entry::<0>(&context)
}

#[inline(always)]
fn entry<const LINK: u32>(context: &TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    // What the programs forward is finished, and so is what comes from a link on top of this one: its program saw it.
    if skb.is_done() || skb.is_tagged() {
        return NEXT;
    }
    let verdict = by_family(skb, run::<V4, LINK>, run::<V6, LINK>, |_| NEXT);
    finish(skb, verdict)
}

#[inline(always)]
fn run<F: Family, const LINK: u32>(skb: Skb) -> Verdict {
    // The host may send what it likes.
    let Ok(work) = describe::<F>(skb, LINK, 0) else {
        return NEXT;
    };
    if !matters(&work.packet) {
        return NEXT;
    }
    let at = if skb.ingress_ifindex() == 0 {
        FROM_HOST
    } else {
        FORWARDED
    };
    let verdict = send(skb, work, at);
    if verdict == CONTINUE {
        skb.set_done();
    }
    conclude(skb, work, verdict, at)
}

/// Whether the packet can concern more than a socket of the host, told without a look-up.
#[inline(always)]
fn matters<F: Family>(packet: &Packet<F>) -> bool {
    let ports = &packet.tuple;
    packet.has_ports()
        && (node::port_matters(ports.source_port) || node::port_serves(ports.destination_port))
}

#[inline(always)]
fn send<F: Family>(skb: Skb, work: &mut Work<F>, at: u32) -> Verdict {
    let verdict = work.follow(skb, at);
    if verdict != NEXT {
        return verdict;
    }
    let begins = work.packet.opens() || work.packet.protocol != TCP;
    let sender = if at == FROM_HOST { HOST } else { 0 };
    if !begins || sender == 0 && node::address::<F>(&work.packet.source) == 0 {
        return NEXT;
    }
    work.begin(skb, at, sender)
}
