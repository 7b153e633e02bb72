//! `from_net`: ingress of a link. What comes to the node from outside. `from_net_bare`: the same of a link without
//! Ethernet header.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::counters::SPOOFED_SOURCE;

use super::enter::{Work, by_family, describe};
use super::finish::{conclude, finish};
use crate::act::course::hook::FROM_NET;
use crate::know::{anti_spoof, endpoint, node};
use crate::machine::frame::ETHERNET;
use crate::machine::skb::Skb;
use crate::machine::verdict::{NEXT, Verdict, dropped};
use crate::maps::{Family, V4, V6};
use crate::packet::description::{ERROR, Packet, UNKNOWN_FRAGMENT};

/// The program of links with an Ethernet header.
#[classifier]
pub fn from_net(context: TcContext) -> i32 {
    entry::<ETHERNET>(&context)
}

/// The program of links without.
#[classifier]
pub fn from_net_bare(context: TcContext) -> i32 {
    entry::<0>(&context)
}

/// What is for another machine, for many, or for a VLAN, the stack knows better.
#[inline(always)]
fn entry<const LINK: u32>(context: &TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    skb.set_begun();
    if !skb.is_for_us() {
        return NEXT;
    }
    let verdict = by_family(skb, run::<V4, LINK>, run::<V6, LINK>, |_| NEXT);
    finish(skb, verdict)
}

#[inline(always)]
fn run<F: Family, const LINK: u32>(skb: Skb) -> Verdict {
    let Ok(work) = describe::<F>(skb, LINK, 0) else {
        // Whatever it is, the stack counts and drops it, or knows what to do with it.
        return NEXT;
    };
    if is_hosts_own(&work.packet) {
        return NEXT;
    }
    let verdict = receive(skb, work);
    conclude(skb, work, verdict, FROM_NET)
}

/// Whether only a socket of the host can be concerned, told without a look-up: most of a node's own traffic.
#[inline(always)]
fn is_hosts_own<F: Family>(packet: &Packet<F>) -> bool {
    if !node::is_own::<F>(&packet.destination) {
        return false;
    }
    match packet.protocol {
        TCP | UDP | SCTP => {
            packet.shape != UNKNOWN_FRAGMENT && !node::port_matters(packet.tuple.destination_port)
        }
        _ => packet.shape != ERROR,
    }
}

#[inline(always)]
fn receive<F: Family>(skb: Skb, work: &mut Work<F>) -> Verdict {
    if work.packet.shape == UNKNOWN_FRAGMENT {
        return NEXT;
    }
    let verdict = work.follow(skb, FROM_NET);
    if verdict != NEXT {
        return verdict;
    }
    if work.packet.protocol == TCP
        && !work.packet.opens()
        && endpoint::of_address::<F>(&work.packet.destination) == 0
    {
        return NEXT;
    }
    begin(skb, work)
}

#[inline(always)]
fn begin<F: Family>(skb: Skb, work: &mut Work<F>) -> Verdict {
    if anti_spoof::is_forged::<F>(&work.packet.source) {
        return dropped(SPOOFED_SOURCE);
    }
    if !node::forwards() && endpoint::of_address::<F>(&work.packet.destination) != 0 {
        // `to_pod` judges what the stack gives to the pod.
        return NEXT;
    }
    work.begin(skb, FROM_NET, 0)
}
