//! `from_net`: ingress of a link. What comes to the node from outside. `from_net_bare`: the same of a link without
//! Ethernet header.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::counters::{FRAGMENT_UNKNOWN, NO_ROUTE, SPOOFED_SOURCE, UNSUPPORTED_FRAME};
use proxy_common::node::{LINK_DECRYPTS, NODE_ENCRYPTS};

use super::enter::{Work, by_family, describe};
use super::finish::{conclude, finish};
use crate::act::course::hook::FROM_NET;
use crate::know::{anti_spoof, endpoint, node, relay};
use crate::machine::frame::{Buffer as _, ETH_VLANS, ETHERNET, Frame as _};
use crate::machine::skb::Skb;
use crate::machine::verdict::{CONTINUE, NEXT, SHOT, Verdict, dropped};
use crate::machine::words::to_stack;
use crate::maps::{Family, V4, V6};
use crate::packet::description::{ERROR, Packet, UNKNOWN_FRAGMENT};
use crate::packet::hold::hold;

/// The VLAN in a tag.
const VLAN: u16 = 0xfff;

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
    let verdict = by_family(skb, run::<V4, LINK>, run::<V6, LINK>, |kind| {
        below_tag(skb, kind)
    });
    finish(skb, verdict)
}

/// All tags of VLAN 0, of which we see the first, are taken off before the stack has the packet, and no program is asked again
/// (<https://elixir.bootlin.com/linux/v6.12/source/net/core/dev.c#L5585>): below two of them anybody could speak for a pod.
#[inline(always)]
fn below_tag(skb: Skb, kind: u16) -> Verdict {
    if !skb.is_tagged() || !ETH_VLANS.contains(&kind) {
        return NEXT;
    }
    match skb.read::<u16>(ETHERNET) {
        Some(tag) if u16::from_be(tag) & VLAN != 0 => NEXT,
        _ => dropped(UNSUPPORTED_FRAME),
    }
}

#[inline(always)]
fn run<F: Family, const LINK: u32>(skb: Skb) -> Verdict {
    let work = match describe::<F>(skb, LINK, 0) {
        Ok(work) => work,
        Err(verdict) if decrypts::<LINK>(skb) => return verdict,
        // Whatever it is, the stack counts and drops it, or knows what to do with it.
        Err(_) => return NEXT,
    };
    if is_hosts_own(&work.packet) {
        return NEXT;
    }
    let verdict = receive(skb, work, FROM_NET);
    let mut verdict = work.let_go(skb, verdict);
    if verdict == NEXT && decrypts::<LINK>(skb) && !is_here(&work.packet) {
        // The stack would send it on, perhaps in the clear.
        verdict = dropped(NO_ROUTE);
    }
    conclude(skb, work, verdict, FROM_NET)
}

/// Whether what comes by a link whose link header has this length was encrypted.
#[inline(always)]
fn decrypts<const LINK: u32>(skb: Skb) -> bool {
    LINK == 0
        && node::is_set(NODE_ENCRYPTS)
        && node::link_flags(skb.ifindex()).is_some_and(|flags| flags & LINK_DECRYPTS != 0)
}

/// Whether the packet is for the node or a pod here. Not inlined, for the need of stack.
#[inline(never)]
pub(super) fn is_here<F: Family>(packet: &Packet<F>) -> bool {
    let to = to_stack(&packet.destination);
    node::any_address::<F>(&to) != 0 || endpoint::of_address::<F>(&to) != 0
}

/// Whether only a socket of the host can be concerned, told without a look-up: most of a node's own traffic.
#[inline(always)]
pub(super) fn is_hosts_own<F: Family>(packet: &Packet<F>) -> bool {
    if !node::is_own::<F>(&packet.destination) {
        return false;
    }
    let to = packet.tuple.destination_port;
    match packet.protocol {
        // What comes out of the tunnel is seen there.
        UDP if to != 0 && to == node::tunnel_port() => packet.shape != ERROR,
        TCP | UDP | SCTP => packet.shape != UNKNOWN_FRAGMENT && !node::port_matters(to),
        _ => packet.shape != ERROR && !may_be_answer(packet),
    }
}

/// Whether an echo reply may be that to a pod's request, which had an identifier of ours.
#[inline(always)]
fn may_be_answer<F: Family>(packet: &Packet<F>) -> bool {
    packet.replies()
        && node::masquerades::<F>()
        && (packet.shape == UNKNOWN_FRAGMENT || node::port_matters(packet.tuple.destination_port))
}

/// Tracking, translation and policy, at `FROM_NET` or `RELAYED`. `NEXT`: the stack has the packet.
#[inline(always)]
pub(super) fn receive<F: Family>(skb: Skb, work: &mut Work<F>, at: u32) -> Verdict {
    if work.packet.shape == UNKNOWN_FRAGMENT {
        let verdict = late(skb, work);
        if verdict != CONTINUE {
            return verdict;
        }
    }
    let verdict = work.follow(skb, at);
    if verdict != NEXT {
        return verdict;
    }
    if work.packet.protocol == TCP
        && !work.packet.opens()
        && endpoint::of_address::<F>(&work.packet.destination) == 0
        && !(relay::is_on() && node::port_matters(work.packet.tuple.destination_port))
    {
        return work.stray();
    }
    begin(skb, work, at)
}

/// A fragment without ports: that of a pod is held until the first one comes. Of all others, which may be for sockets of the
/// host or go through it, a copy is held, in case they are for a Service. `CONTINUE`: the ports are known now.
#[inline(always)]
fn late<F: Family>(skb: Skb, work: &mut Work<F>) -> Verdict {
    let for_pod = endpoint::of_address::<F>(&work.packet.destination) != 0;
    if anti_spoof::is_forged::<F>(&work.packet.source) {
        return if for_pod {
            dropped(SPOOFED_SOURCE)
        } else {
            NEXT
        };
    }
    let held = hold(skb, &mut work.packet, u32::from(!for_pod)) == CONTINUE;
    match (held, for_pod) {
        (true, true) => SHOT,
        (false, _) if work.packet.shape != UNKNOWN_FRAGMENT => CONTINUE,
        (false, true) => dropped(FRAGMENT_UNKNOWN),
        (_, false) => NEXT,
    }
}

#[inline(always)]
fn begin<F: Family>(skb: Skb, work: &mut Work<F>, at: u32) -> Verdict {
    if anti_spoof::is_forged::<F>(&work.packet.source) {
        return dropped(SPOOFED_SOURCE);
    }
    if !node::forwards() && endpoint::of_address::<F>(&work.packet.destination) != 0 {
        // `to_pod` judges what the stack gives to the pod.
        return NEXT;
    }
    work.begin(skb, at, 0)
}
