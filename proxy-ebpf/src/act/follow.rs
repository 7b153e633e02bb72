//! Packets of known flows.

use proxy_common::conntrack::{
    ENDPOINT_HOST, FLOW_HAIRPIN, FLOW_LOOPBACK, FLOW_MASQUERADED, FLOW_RELAYED, FLOW_STACK,
};
use proxy_common::counters::SPOOFED_SOURCE;

use super::course::{Course, hook};
use super::{judge, relay, review};
use crate::know::endpoint;
use crate::machine::frame::Buffer as _;
use crate::machine::global::global;
use crate::machine::skb::Skb as Buffer;
use crate::machine::verdict::{CONTINUE, NEXT, PASS};
use crate::machine::words::copy;
use crate::maps::Family;
use crate::packet::description::Packet;
use crate::track::flow::{self, Found};

/// The flow must be looked at again before its packet goes on: [`super::review`].
pub const STALE: Verdict = CONTINUE + 1;

global! {
    /// Follows the flow of a packet at a hook (`course::hook`): state, and what becomes of the packet, which is left as it
    /// is. `CONTINUE`: `course` says it. `NEXT`: there is none, or it is over and a new one must begin. `STALE`: it must be
    /// reviewed first, unless `reviewed` is 1.
    pub fn follow(skb, packet: Packet, course: Course; at, reviewed) = run
}

global! {
    /// As [`follow`], for a packet that was turned into its target already, on its way into a pod.
    pub fn follow_turned(skb, packet: Packet, course: Course; reviewed) = run_turned
}

/// Follows the flow of a packet that came by a link, if both of its ends are elsewhere: translated here on its way through.
/// `NEXT` and `STALE` as of [`follow`]. `PASS`: an end is here, and nothing has changed.
#[inline(always)]
pub fn follow_through<F: Family>(
    packet: &mut Packet<F>,
    course: &mut Course<F>,
    reviewed: u32,
) -> Verdict {
    let Some(found) = flow::find::<F>(&packet.tuple, packet.protocol, packet.now) else {
        return NEXT;
    };
    let [sender, receiver] = found.ends();
    let ours = FLOW_STACK | FLOW_MASQUERADED | FLOW_LOOPBACK | FLOW_HAIRPIN;
    let through = sender | receiver == 0 && found.head.flags & ours == 0;
    // Its answers do not come this way.
    let relayed_back = found.head.flags & FLOW_RELAYED != 0 && found.place.direction() != 0;
    if !through || relayed_back {
        return PASS;
    }
    if packet.opens() && found.head.is_closed() {
        found.end();
        return NEXT;
    }
    // Between such ends there is no policy.
    if reviewed == 0 && review::is_due(packet, &found, hook::FROM_NET) {
        return STALE;
    }
    go(packet, course, &found, hook::FROM_NET)
}

#[inline(always)]
fn run<F: Family>(
    skb: Buffer,
    packet: &mut Packet<F>,
    course: &mut Course<F>,
    at: u32,
    reviewed: u32,
) -> Verdict {
    let Some(found) = flow::find::<F>(&packet.tuple, packet.protocol, packet.now) else {
        return NEXT;
    };
    let [sender, receiver] = found.ends();
    match at {
        // Whoever sends a flow of this interface's endpoint sends from its address.
        hook::FROM_POD if !endpoint::sends_at(sender, skb.device()) => return NEXT,
        // It says that the node or one of its pods sent it.
        hook::FROM_NET | hook::RELAYED if sender != 0 => return dropped(SPOOFED_SOURCE),
        // Another node has relayed it, for it found the backend here: it is not relayed once more.
        hook::RELAYED if receiver == 0 && found.place.direction() == 0 => {
            found.end();
            return NEXT;
        }
        hook::TO_POD => match endpoint::at(receiver, skb.ifindex()) {
            Some(pod) => course.receives = pod.flags,
            None => return NEXT,
        },
        _ => {}
    }
    if packet.opens() && found.head.is_closed() {
        found.end();
        return NEXT;
    }
    if reviewed == 0 && (review::is_due(packet, &found, at) || !judge::is_current(&found)) {
        return STALE;
    }
    go(packet, course, &found, at)
}

#[inline(always)]
fn run_turned<F: Family>(
    skb: Buffer,
    packet: &mut Packet<F>,
    course: &mut Course<F>,
    reviewed: u32,
) -> Verdict {
    let Some(found) = flow::find_turned::<F>(&packet.tuple, packet.protocol, packet.now) else {
        return NEXT;
    };
    let [_, receiver] = found.ends();
    // What was turned before the stack had it opened its flow anew there.
    let begins = packet.opens() && found.head.is_closed();
    let Some(pod) = endpoint::at(receiver, skb.ifindex()).filter(|_| !begins) else {
        return NEXT;
    };
    course.receives = pod.flags;
    if reviewed == 0 && !judge::is_current(&found) {
        return STALE;
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
    let [sender, receiver] = found.ends();
    let forth = found.place.direction() == 0;
    let beginner = if forth { sender } else { receiver };
    // The stack must see an answer as the backend sent it: it is turned round where it leaves the stack. Not so if the host
    // itself asked, whose own packets were turned on their way out. What is masqueraded is the pod's for the stack.
    let through = found.head.flags & FLOW_STACK != 0 && beginner != u32::from(ENDPOINT_HOST);
    let unturned = if found.head.flags & FLOW_MASQUERADED != 0 {
        at == hook::FROM_POD
    } else {
        !forth && hook::is_ingress(at)
    };
    let target = if through && unturned {
        &raw const packet.tuple
    } else {
        found.target()
    };
    // SAFETY: two values made of words; of a record of the map, asked below whether it is still the same flow's.
    unsafe { copy(target, &raw mut course.target) };
    course.receiver = receiver;
    course.flags = u32::from(found.head.flags);
    if found.head.flags & FLOW_RELAYED != 0 || at == hook::RELAYED {
        relay::follow(course, found, at);
    }
    if !found.is_same() {
        return NEXT;
    }
    flow::touch(packet, found);
    CONTINUE
}

use crate::machine::verdict::{Verdict, dropped};
