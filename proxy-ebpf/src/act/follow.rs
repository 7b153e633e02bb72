//! Packets of known flows.

use core::ptr::read_volatile;

use proxy_common::address::{TCP, UDP};
use proxy_common::conntrack::{ENDPOINT_HOST, FLOW_STACK, Head};
use proxy_common::counters::SPOOFED_SOURCE;

use super::course::{Course, hook};
use super::judge;
use crate::know::{endpoint, service};
use crate::machine::global::global;
use crate::machine::skb::Skb as Buffer;
use crate::machine::verdict::{CONTINUE, NEXT};
use crate::machine::words::{copy, same};
use crate::maps::Family;
use crate::packet::description::{ERROR, Packet};
use crate::track::flow::{self, Found};

global! {
    /// Follows the flow of a packet at a hook (`course::hook`): policy, state, and what becomes of the packet, which is left as it
    /// is. `CONTINUE`: `course` says it. `NEXT`: there is none, or it is over and a new one must begin.
    pub fn follow(skb, packet: Packet, course: Course; at) = run
}

global! {
    /// As [`follow`], for a packet that was turned into its target already, on its way into a pod.
    pub fn follow_turned(skb, packet: Packet, course: Course) = run_turned
}

#[inline(always)]
fn run<F: Family>(skb: Buffer, packet: &mut Packet<F>, course: &mut Course<F>, at: u32) -> Verdict {
    let Some(found) = flow::find::<F>(&packet.tuple, packet.protocol, packet.now) else {
        return NEXT;
    };
    let [sender, receiver] = found.ends();
    match at {
        // Whoever sends a flow of this interface's endpoint sends from its address.
        hook::FROM_POD if !endpoint::is_at(sender, skb.ifindex()) => return NEXT,
        // It says that the node or one of its pods sent it.
        hook::FROM_NET if sender != 0 => return dropped(SPOOFED_SOURCE),
        hook::TO_POD if !endpoint::is_at(receiver, skb.ifindex()) => return NEXT,
        _ => {}
    }
    if begins_anew(packet, &found, at) {
        found.end();
        return NEXT;
    }
    go(packet, course, &found, at)
}

#[inline(always)]
fn run_turned<F: Family>(skb: Buffer, packet: &mut Packet<F>, course: &mut Course<F>) -> Verdict {
    let turned = packet.tuple.reversed();
    let Some(mut found) = flow::find::<F>(&turned, packet.protocol, packet.now) else {
        return NEXT;
    };
    // Found by the tuple of its answers.
    found.place.slot_and_direction ^= 1;
    let [_, receiver] = found.ends();
    // What was turned before the stack had it opened its flow anew there.
    let begins = packet.opens() && flow::is_closed(found.head);
    if begins || !endpoint::is_at(receiver, skb.ifindex()) {
        return NEXT;
    }
    let verdict = go(packet, course, &found, hook::TO_POD);
    // SAFETY: two values made of words.
    unsafe { copy(&raw const packet.tuple, &raw mut course.target) };
    verdict
}

#[inline(always)]
fn go<F: Family>(
    packet: &mut Packet<F>,
    course: &mut Course<F>,
    found: &Found<F>,
    at: u32,
) -> Verdict {
    let verdict = judge::again(found);
    if verdict != CONTINUE {
        return verdict;
    }
    let [sender, receiver] = found.ends();
    let forth = found.place.direction() == 0;
    let beginner = if forth { sender } else { receiver };
    // The stack must see an answer as the backend sent it: it is turned round where it leaves the stack. Not so if the host
    // itself asked, whose own packets were turned on their way out.
    let through = found.head.flags & FLOW_STACK != 0 && beginner != u32::from(ENDPOINT_HOST);
    let target = if !forth && through && hook::is_ingress(at) {
        &raw const packet.tuple
    } else {
        found.target()
    };
    // SAFETY: two values made of words; of a record of the map, asked below whether it is still the same flow's.
    unsafe { copy(target, &raw mut course.target) };
    course.receiver = receiver;
    course.flags = u32::from(found.head.flags);
    if !found.is_same() {
        return NEXT;
    }
    flow::touch(packet, found);
    CONTINUE
}

/// Whether the packet's flow is over for it: it opens a connection where one is closed, or its Service has other backends
/// now, or there is a Service now where there was none.
#[inline(always)]
fn begins_anew<F: Family>(packet: &mut Packet<F>, found: &Found<F>, at: u32) -> bool {
    let opens = packet.opens();
    if opens && flow::is_closed(found.head) {
        return true;
    }
    if found.place.direction() != 0 || packet.shape == ERROR || at == hook::TO_POD {
        return false;
    }
    match found.head.protocol {
        TCP => opens && !serves(packet, found, at),
        UDP => has_moved(packet, found, at),
        _ => false,
    }
}

/// A flow of datagrams compares itself with its Service only when Services have changed.
#[inline(always)]
fn has_moved<F: Family>(packet: &mut Packet<F>, found: &Found<F>, at: u32) -> bool {
    let epoch = service::epoch();
    if found.head.compared_at(epoch) {
        return false;
    }
    if !serves(packet, found, at) {
        return true;
    }
    found.change(|head| Head {
        seen: epoch,
        ..head
    });
    false
}

/// Whether the flow is translated as it would be if it began now, but for the choice of a backend. Not inlined, for few
/// packets ask.
#[inline(never)]
fn serves<F: Family>(packet: &mut Packet<F>, found: &Found<F>, at: u32) -> bool {
    // SAFETY: a record of the map; aligned words. Should it be another flow's by now, this one is over in any case.
    let (id, backend, target) = unsafe {
        let record = found.record;
        (
            read_volatile(&raw const (*record).service),
            read_volatile(&raw const (*record).backend),
            &*found.target(),
        )
    };
    if id == 0 && !same(target, &packet.tuple) {
        // Translated, but by no Service.
        return true;
    }
    service::still_serves(packet, id, backend, hook::is_outside(at)) == CONTINUE
}

use crate::machine::verdict::{Verdict, dropped};
