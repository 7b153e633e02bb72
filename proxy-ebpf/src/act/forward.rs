//! A packet on its way: turned into its target, into a pod, out of the node, or into the host's stack.

use core::ffi::c_void;

use aya_ebpf::bindings::bpf_redir_neigh as Neighbour;
use aya_ebpf::helpers::{bpf_check_mtu, bpf_redirect_neigh};
use proxy_common::conntrack::{FLOW_HAIRPIN, FLOW_LOOPBACK, FLOW_MASQUERADED, FLOW_STACK};
use proxy_common::counters::{
    HOP_LIMIT, NO_ROUTE, NOT_ENCRYPTED, REWRITE_FAILED, TOO_BIG, UNKNOWN_ENDPOINT,
};
use proxy_common::endpoints::ENDPOINT_SHAPED;
use proxy_common::tunnel::{TUNNEL_CLOSED, TUNNEL_NODE};

use super::course::{self, Course, hook};
use super::host::{by_host_device, by_loopback, ethernet};
use super::length::longest;
use super::{relay, tunnel};
use crate::know::endpoint;
use crate::know::next_hop::{self, Between, NextHop};
use crate::machine::frame::{Buffer as _, Frame as _};
use crate::machine::global::global;
use crate::machine::skb::{Skb, Skb as Buffer, redirect, redirect_peer};
use crate::machine::verdict::{CONTINUE, NEXT};
use crate::machine::words::{copy, same};
use crate::maps::Family;
use crate::packet::age::age;
use crate::packet::description::{ERROR, FIRST_FRAGMENT, LATER_FRAGMENT, Packet};
use crate::packet::rewrite::{plain_checksum, rewrite_any, rewrite_plain};

const NEIGHBOUR_SIZE: i32 = 20;
const _: () = assert!(size_of::<Neighbour>() == 20);
/// Each segment is checked, not the whole of a large packet.
const MTU_SEGMENTS: u64 = 1;

/// Sends a packet at a hook (`course::hook`) on its course. `NEXT`: the stack has it. `HOP_LIMIT`, `NO_ROUTE`, `TOO_BIG`: the
/// sender is to be told; the packet is as it came.
#[inline(always)]
pub fn forward<F: Family>(
    skb: Skb,
    packet: &mut Packet<F>,
    course: &mut Course<F>,
    at: u32,
) -> Verdict {
    let turned = !same(&course.target, &packet.tuple);
    if course.receiver == 0 && !by_stack(course, at) {
        let verdict = find_way(skb, packet, course, at);
        if verdict != CONTINUE {
            return if hook::is_ingress(at) && is_left(packet, course, verdict) {
                NEXT
            } else {
                verdict
            };
        }
    }
    if !turned && is_stacks(course, at) {
        return NEXT;
    }
    if turned && plain_checksum(packet).is_none() {
        let verdict = rewrite_any(skb, packet, &mut course.target);
        if verdict != CONTINUE {
            return verdict;
        }
    }
    // Most of what leaves the host is the host's own, and copied from: it is written only where it must be.
    if hook::is_ingress(at) {
        send(skb, packet, course, at, u32::from(turned))
    } else {
        send_shared(skb, packet, course, at, u32::from(turned))
    }
}

global! {
    /// Turns a plain packet, unless it is turned already, and hands it over. `turned`: whether it comes or came to be.
    fn send(skb, packet: Packet, course: Course; at, turned) = run
}

global! {
    /// As [`send`], for packets that others may have a copy of.
    fn send_shared(skb, packet: Packet, course: Course; at, turned) = run_shared
}

#[inline(always)]
fn run<F: Family>(
    skb: Buffer,
    packet: &mut Packet<F>,
    course: &mut Course<F>,
    at: u32,
    turned: u32,
) -> Verdict {
    go(skb, packet, course, at, turned)
}

#[inline(always)]
fn run_shared<F: Family>(
    skb: Buffer,
    packet: &mut Packet<F>,
    course: &mut Course<F>,
    at: u32,
    turned: u32,
) -> Verdict {
    go(skb.shared(), packet, course, at, turned)
}

#[inline(always)]
fn go<F: Family, const OWN: bool>(
    skb: Buffer<OWN>,
    packet: &mut Packet<F>,
    course: &mut Course<F>,
    at: u32,
    turned: u32,
) -> Verdict {
    if turned != 0
        && !same(&course.target, &packet.tuple)
        && !rewrite_plain(skb, packet, &course.target)
    {
        return dropped(REWRITE_FAILED);
    }
    if is_stacks(course, at) && (turned == 0 || by_stack(course, at)) {
        return NEXT;
    }
    if is_cut(course) {
        // The stack takes the node's own addresses, and those of Services, by its loopback.
        skb.set_turned();
        return by_loopback(skb, packet);
    }
    hand_over(skb, packet, course, at)
}

/// In `Course::flags`, beside those of the flow: the stack is to send the packet, cut into fragments.
const CUT: u32 = 1 << 31;
const _: () = assert!(CUT > u16::MAX as u32);

#[inline(always)]
const fn is_cut<F: Family>(course: &Course<F>) -> bool {
    course.flags & CUT != 0
}

/// Whether the stack has the packet if it is not turned.
#[inline(always)]
fn is_stacks<F: Family>(course: &Course<F>, at: u32) -> bool {
    by_stack(course, at) || course.receiver == course::HOST
}

#[inline(always)]
const fn is_masqueraded<F: Family>(course: &Course<F>) -> bool {
    course.flags & FLOW_MASQUERADED as u32 != 0
}

/// Whether a packet without a way is left to the stack: what it would have answered to one that nobody translated, and one that
/// the link can turn yet. It does not know the tuple of another translated one.
#[inline(always)]
fn is_left<F: Family>(packet: &Packet<F>, course: &Course<F>, verdict: Verdict) -> bool {
    let turned = !same(&course.target, &packet.tuple);
    verdict != dropped(NOT_ENCRYPTED)
        && (!turned || is_masqueraded(course) && keeps_destination(packet, course))
        && !is_hidden(course, verdict)
}

/// Whether the stack does not know the way: what is relayed, and what is too big for the tunnel from a pod to a node.
#[inline(always)]
fn is_hidden<F: Family>(course: &Course<F>, verdict: Verdict) -> bool {
    if relay::is_relayed(course) {
        return true;
    }
    verdict == dropped(TOO_BIG)
        && next_hop::get(course.hop).is_some_and(|hop| hop.tunnel & TUNNEL_NODE != 0)
}

/// Whether only the sender is turned.
#[inline(always)]
fn keeps_destination<F: Family>(packet: &Packet<F>, course: &Course<F>) -> bool {
    same(&packet.tuple.destination, &course.target.destination)
}

/// Whether the stack has the packet, turned or not: on its way out by a link it has been routed already. Of a pod to itself
/// it would see the pod's address come from it.
#[inline(always)]
fn by_stack<F: Family>(course: &Course<F>, at: u32) -> bool {
    at == hook::TO_POD
        || is_masqueraded(course) && hook::is_egress(at)
        || course.flags & u32::from(FLOW_STACK | FLOW_HAIRPIN) == u32::from(FLOW_STACK)
}

/// A packet that was turned, into the host.
#[inline(always)]
fn into_host<F: Family, const OWN: bool>(
    skb: Buffer<OWN>,
    packet: &Packet<F>,
    course: &Course<F>,
    at: u32,
) -> Verdict {
    if course.flags & u32::from(FLOW_LOOPBACK) != 0 {
        return by_loopback(skb, packet);
    }
    if hook::is_from_others(at) {
        return NEXT;
    }
    by_host_device(skb, packet)
}

/// The last step: into a pod, to the next hop, or into the host.
#[inline(always)]
fn hand_over<F: Family, const OWN: bool>(
    skb: Buffer<OWN>,
    packet: &mut Packet<F>,
    course: &mut Course<F>,
    at: u32,
) -> Verdict {
    if course.receiver == course::HOST {
        return into_host(skb, packet, course, at);
    }
    if course.receiver != 0 {
        return into_pod(skb, packet, course.receiver, at);
    }
    if relay::is_relayed(course) {
        return relay::send(skb, packet, course, at);
    }
    let Some(hop) = next_hop::get(course.hop) else {
        return dropped(NO_ROUTE);
    };
    if !hook::is_own(at) && !age(skb, packet) || !ethernet(skb, packet) {
        return dropped(REWRITE_FAILED);
    }
    skb.set_done();
    if hop.tunnel != 0 {
        return tunnel::send::<F, _>(skb, hop);
    }
    // On the stack: helpers take no pointer into the memory of an array of each CPU before Linux 6.4.
    let mut neighbour = hop.neighbour;
    // SAFETY: two values made of words.
    unsafe { copy(&raw const hop.neighbour, &raw mut neighbour) };
    // SAFETY: the helper reads all of `neighbour`.
    unsafe { bpf_redirect_neigh(hop.ifindex, &raw mut neighbour, NEIGHBOUR_SIZE, 0) as i32 }
}

/// The way into a pod: straight to its side, or through the host side's queue. The frame bears the pod's own address.
#[inline(always)]
fn into_pod<F: Family, const OWN: bool>(
    skb: Buffer<OWN>,
    packet: &Packet<F>,
    id: u32,
    at: u32,
) -> Verdict {
    let Some(pod) = endpoint::get(id) else {
        return dropped(UNKNOWN_ENDPOINT);
    };
    let ends = [pod.pod_mac, pod.host_mac];
    if !ethernet(skb, packet) || !skb.put(0, &ends) {
        return dropped(REWRITE_FAILED);
    }
    if hook::is_ingress(at) && pod.flags & ENDPOINT_SHAPED == 0 {
        redirect_peer(pod.ifindex)
    } else {
        redirect(pod.ifindex, 0)
    }
}

global! {
    /// Finds the next hop of a packet that leaves the node, into `course.hop`, or leaves what must be cut to the stack (`CUT`). Else why there is none: `HOP_LIMIT`, `NO_ROUTE`,
    /// `TOO_BIG` with `course.mtu`, `NOT_ENCRYPTED`.
    fn find_way(skb, packet: Packet, course: Course; at) = way
}

#[inline(always)]
fn way<F: Family>(skb: Buffer, packet: &mut Packet<F>, course: &mut Course<F>, at: u32) -> Verdict {
    if packet.hops <= 1 && !hook::is_own(at) {
        return dropped(HOP_LIMIT);
    }
    if relay::is_relayed(course) {
        return relay::has_way(skb, packet, course);
    }
    let Some((hop, number)) = next_hop::find::<_, F>(skb, &between(packet, course)) else {
        return dropped(NO_ROUTE);
    };
    course.hop = number;
    if hop.tunnel & TUNNEL_CLOSED != 0 {
        return dropped(NOT_ENCRYPTED);
    }
    let narrow = room(skb, packet, hop);
    if narrow.is_none() && !(is_piece(packet) && is_narrower(skb, hop)) {
        return CONTINUE;
    }
    if hop.tunnel & TUNNEL_NODE == 0 && may_be_cut(skb, packet, course) {
        let unturned = same(&course.target, &packet.tuple);
        course.flags |= if unturned || at == hook::FROM_POD && keeps_source(packet, course) {
            // The stack knows it as it is, or as the pod's.
            u32::from(FLOW_STACK)
        } else {
            CUT
        };
        return CONTINUE;
    }
    let Some(mtu) = narrow else {
        return CONTINUE;
    };
    course.mtu = mtu;
    dropped(TOO_BIG)
}

/// Whether only the receiver is turned.
#[inline(always)]
fn keeps_source<F: Family>(packet: &Packet<F>, course: &Course<F>) -> bool {
    same(&packet.tuple.source, &course.target.source)
}

/// Whether it is a fragment of IPv4. A stack that puts fragments together must have all of a datagram, also the last one, which
/// is smaller.
#[inline(always)]
const fn is_piece<F: Family>(packet: &Packet<F>) -> bool {
    !F::IPV6 && matches!(packet.shape, FIRST_FRAGMENT | LATER_FRAGMENT)
}

/// Whether a way is narrower than the one by which the packet has come.
#[inline(always)]
fn is_narrower(skb: Buffer, hop: &NextHop) -> bool {
    let mtu = if hop.mtu == 0 {
        device_mtu(skb, hop.ifindex).1
    } else {
        hop.mtu
    };
    mtu < device_mtu(skb, skb.ifindex()).1
}

/// Whether the stack may cut a packet into fragments (RFC 791), turned already.
#[inline(always)]
fn may_be_cut<F: Family>(skb: Buffer, packet: &Packet<F>, course: &Course<F>) -> bool {
    const FLAGS: u32 = 6;
    const DO_NOT_FRAGMENT: u16 = 0x4000;
    if F::IPV6 || is_masqueraded(course) {
        return false;
    }
    let flags = skb.read::<u16>(packet.link + FLAGS);
    flags.is_some_and(|flags| u16::from_be(flags) & DO_NOT_FRAGMENT == 0)
}

/// Whose way it is: after it is turned, but what is masqueraded is routed by the pod's own address. An error goes to the end
/// of its flow or to a router that has forwarded its packet.
#[inline(always)]
fn between<F: Family>(packet: &Packet<F>, course: &Course<F>) -> Between<F::Address> {
    let to_end = packet.shape != ERROR || same(&packet.destination, &packet.tuple.destination);
    let from_end = packet.shape != ERROR || same(&packet.source, &packet.tuple.source);
    Between {
        source: if from_end && !is_masqueraded(course) {
            course.target.source
        } else {
            packet.source
        },
        destination: if to_end {
            course.target.destination
        } else {
            packet.destination
        },
        protocol: packet.protocol,
        now: packet.now,
        bare: is_masqueraded(course),
    }
}

/// The MTU of a way on which a packet, or each segment of it, has no room.
#[inline(always)]
fn room<F: Family>(skb: Buffer, packet: &Packet<F>, hop: &NextHop) -> Option<u32> {
    if hop.mtu == 0 {
        return device_room(skb, hop.ifindex);
    }
    (longest(skb, packet) > hop.mtu).then_some(hop.mtu)
}

#[inline(always)]
fn device_room(skb: Buffer, ifindex: u32) -> Option<u32> {
    let (fits, mtu) = device_mtu(skb, ifindex);
    (!fits).then_some(mtu)
}

/// Whether a packet fits a device, and its MTU.
#[inline(always)]
fn device_mtu(skb: Buffer, ifindex: u32) -> (bool, u32) {
    let mut mtu = 0_u32;
    // SAFETY: the helper reads and writes `mtu`.
    let result = unsafe {
        bpf_check_mtu(
            skb.raw().cast::<c_void>(),
            ifindex,
            &raw mut mtu,
            0,
            MTU_SEGMENTS,
        )
    };
    (result == 0, mtu)
}

use crate::machine::verdict::{Verdict, dropped};
