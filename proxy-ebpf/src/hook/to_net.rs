//! `to_net`: egress of a link. Answers of the host, what it sends to Services' addresses that are not routed to
//! `weir_host`, and what its stack forwards of pods: masqueraded here. `to_net_bare`: the same of a link without Ethernet header.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::counters::{FRAGMENT_UNKNOWN, TOO_BIG};

use super::enter::{Work, by_family, describe};
use super::finish::{conclude, finish, tell_why};
use crate::act::course::HOST;
use crate::act::course::hook::{FORWARDED, FROM_HOST};
use crate::act::tunnel::divert;
use crate::know::{endpoint, inside, node};
use crate::machine::frame::ETHERNET;
use crate::machine::scratch::room;
use crate::machine::skb::Skb;
use crate::machine::verdict::{CONTINUE, NEXT, Verdict, dropped};
use crate::machine::words::{same, to_stack};
use crate::maps::{Family, V4, V6};
use crate::packet::description::{ERROR, Packet, UNKNOWN_FRAGMENT, WHOLE};

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
    if skb.is_settled() || skb.is_tagged() {
        return NEXT;
    }
    let mut verdict = NEXT;
    if may_be_diverted(skb) {
        verdict = by_family(skb, aside::<V4, LINK>, aside::<V6, LINK>, |_| NEXT);
        if verdict == dropped(TOO_BIG) {
            verdict = by_family(skb, too_big::<V4>, too_big::<V6>, |_| NEXT);
        }
    }
    if verdict == NEXT {
        verdict = by_family(skb, run::<V4, LINK>, run::<V6, LINK>, |_| NEXT);
    }
    finish(skb, verdict)
}

/// What is done with a packet whose link header has this length.
#[inline(always)]
pub(super) fn run<F: Family, const LINK: u32>(skb: Skb) -> Verdict {
    // The host may send what it likes.
    let Ok(work) = describe::<F>(skb, LINK, 0) else {
        return NEXT;
    };
    let forwarded = skb.ingress_ifindex() != 0;
    let pod = sending_pod(&work.packet, forwarded);
    if pod == 0 && !matters(&work.packet) {
        return NEXT;
    }
    let at = if forwarded || pod != 0 {
        FORWARDED
    } else {
        FROM_HOST
    };
    work.from = [at, pod];
    let verdict = send(skb, work);
    if verdict == CONTINUE {
        skb.set_done();
    }
    conclude(skb, work, verdict, work.from[0])
}

/// What a pod sends to a node that has a tunnel: the stack knows of that only for pods of the node. Not inlined, for the need of
/// stack.
#[inline(never)]
fn aside<F: Family, const LINK: u32>(skb: Skb) -> Verdict {
    let Ok(work) = describe::<F>(skb, LINK, 0) else {
        return NEXT;
    };
    divert(skb, &mut work.packet, &mut work.course)
}

/// Tells the sender of the packet in hand that it is too big.
#[inline(always)]
fn too_big<F: Family>(skb: Skb) -> Verdict {
    match room::<Work<F>>() {
        Some(work) => tell_why(skb, work, TOO_BIG, FORWARDED),
        None => dropped(TOO_BIG),
    }
}

/// Whether a pod may have sent it. Copies of fragments come without the interface on which they came (see `to_pod`).
#[inline(always)]
fn may_be_diverted(skb: Skb) -> bool {
    node::diverts() && (skb.ingress_ifindex() != 0 || !node::forwards())
}

/// The pod of this node whose packet it is, where what pods send may have to be masqueraded; 0 for none. Copies of fragments come
/// without the interface on which they came (see `to_pod`).
#[inline(always)]
fn sending_pod<F: Family>(packet: &Packet<F>, forwarded: bool) -> u32 {
    let is_fragment = packet.shape != WHOLE && packet.shape != ERROR;
    if (forwarded || is_fragment) && node::masquerades::<F>() {
        pod_of(packet)
    } else {
        0
    }
}

/// Not inlined, for the need of stack.
#[inline(never)]
fn pod_of<F: Family>(packet: &Packet<F>) -> u32 {
    endpoint::of_address::<F>(&to_stack(&packet.source))
}

/// Whether the packet can concern more than a socket of the host, told without a look-up.
#[inline(always)]
fn matters<F: Family>(packet: &Packet<F>) -> bool {
    let ports = &packet.tuple;
    let translated =
        || node::port_matters(ports.source_port) || node::port_serves(ports.destination_port);
    match packet.protocol {
        _ if packet.shape == UNKNOWN_FRAGMENT => false,
        // About a packet that was turned before the stack had it.
        _ if packet.shape == ERROR => node::masquerades::<F>() || translated(),
        TCP | UDP | SCTP => translated(),
        _ => packet.asks() && node::masquerades::<F>() && translated(),
    }
}

#[inline(always)]
fn send<F: Family>(skb: Skb, work: &mut Work<F>) -> Verdict {
    if work.from[1] != 0 && work.packet.shape == UNKNOWN_FRAGMENT {
        return fragment::<F>(&work.packet);
    }
    let verdict = work.follow(skb, work.from[0]);
    let is_error = work.packet.shape == ERROR;
    if verdict == CONTINUE
        && (work.from[1] != 0 || is_error)
        && same(&work.course.target, &work.packet.tuple)
    {
        return NEXT;
    }
    if verdict != NEXT {
        return verdict;
    }
    let [at, pod] = work.from;
    if pod != 0 {
        return work.begin(skb, at, pod);
    }
    let begins = work.packet.opens() || work.packet.protocol != TCP && !is_error;
    let sender = if at == FROM_HOST { HOST } else { 0 };
    if !begins {
        return work.stray();
    }
    if sender == 0 && node::any_address::<F>(&work.packet.source) == 0 {
        return NEXT;
    }
    work.begin(skb, at, sender)
}

/// A pod's fragment without ports: nobody knows in whose name it would leave the cluster.
#[inline(never)]
fn fragment<F: Family>(packet: &Packet<F>) -> Verdict {
    if inside::has::<F>(&to_stack(&packet.destination)) {
        NEXT
    } else {
        dropped(FRAGMENT_UNKNOWN)
    }
}
