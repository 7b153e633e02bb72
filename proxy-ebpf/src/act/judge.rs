//! Policy enforcement of a flow: the egress of who begins it, the ingress of who receives it, each where that is a pod of this node.

use proxy_common::conntrack::{ENDPOINT_HOST, FLOW_HAIRPIN, FLOW_STACK};
use proxy_common::policy::words::ROW_ALLOW_ALL;

use crate::know::policy::{self, Question};
use crate::machine::global::global;
use crate::machine::verdict::CONTINUE;
use crate::machine::words::same;
use crate::maps::Family;
use crate::packet::description::{ERROR, Packet};
use crate::track::flow::Found;
use crate::track::start::Start;

global! {
    /// Judges a flow that begins with `packet`, and notes epochs and rules. `endpoint` of the flow says who its ends are. A
    /// flow of a pod that leads neither to a pod nor to the node goes through the host's stack.
    pub fn ends(packet: Packet, start: Start) = both
}

#[inline(always)]
fn both<F: Family>(packet: &mut Packet<F>, start: &mut Start<F>) -> Verdict {
    start.outward = 0;
    if start.flags & FLOW_HAIRPIN != 0 {
        return CONTINUE;
    }
    let [sender, receiver] = start.flow.endpoint;
    if is_pod(sender) {
        let verdict = egress(packet, start, u32::from(sender));
        if verdict != CONTINUE {
            return verdict;
        }
    }
    if is_pod(receiver) {
        return ingress(packet, start, u32::from(receiver));
    }
    CONTINUE
}

/// Whether a flow's end is a pod of this node.
#[inline(always)]
pub const fn is_pod(endpoint: u16) -> bool {
    endpoint != 0 && endpoint != ENDPOINT_HOST
}

/// Egress policy on the translated destination.
#[inline(always)]
fn egress<F: Family>(packet: &Packet<F>, start: &mut Start<F>, sender: u32) -> Verdict {
    let word = policy::word(sender);
    // Of a receiver elsewhere the way depends on who it is, even if all may be sent to.
    let is_near = start.flow.endpoint[1] != 0;
    if word.egress_row == ROW_ALLOW_ALL && is_near {
        start.flow.epoch[0] = word.epoch;
        return CONTINUE;
    }
    let [to, _] = &start.flow.target;
    let (address, protocol) = if packet.shape == ERROR {
        (packet.destination, packet.carrier)
    } else {
        (to.destination, packet.protocol)
    };
    let port = packet.policy_port(to.destination_port);
    let mut question = policy::egress::<F>(&word, address, protocol, port);
    let verdict = policy::judge(&mut question);
    start.flow.epoch[0] = word.epoch;
    start.flow.cookie[0] = question.cookie;
    if !is_near && !policy::is_pod(question.peer) {
        start.flags |= FLOW_STACK;
        start.outward = 1;
    }
    verdict
}

/// Ingress policy on the true source. What the host itself sends may always reach its pods, and so may "too big" about a
/// packet that the pod sent: without it connections hang (RFC 1191, RFC 8201).
#[inline(always)]
fn ingress<F: Family>(packet: &Packet<F>, start: &mut Start<F>, receiver: u32) -> Verdict {
    let word = policy::word(receiver);
    if word.ingress_row == ROW_ALLOW_ALL {
        start.flow.epoch[1] = word.epoch;
        return CONTINUE;
    }
    let port = packet.policy_port(start.flow.target[0].destination_port);
    let protocol = if packet.shape == ERROR {
        packet.carrier
    } else {
        packet.protocol
    };
    let mut question = policy::ingress::<F>(&word, packet.source, protocol, port);
    let verdict = policy::judge(&mut question);
    start.flow.epoch[1] = word.epoch;
    start.flow.cookie[1] = question.cookie;
    if start.flow.endpoint[0] == ENDPOINT_HOST || is_too_big(packet) {
        return CONTINUE;
    }
    verdict
}

#[inline(always)]
fn is_too_big<F: Family>(packet: &Packet<F>) -> bool {
    let too_big = if F::IPV6 { 2 << 8 } else { 3 << 8 | 4 };
    packet.shape == ERROR
        && packet.icmp == too_big
        && same(&packet.tuple.destination, &packet.destination)
}

/// The pods of this node whose egress and whose ingress policy a known flow is subject to, 0 for none: in the direction that
/// began the flow, whatever the packet's is. What the host itself sends may always reach its pods.
#[inline(always)]
fn judges<F: Family>(found: &Found<F>) -> [u32; 2] {
    if found.head.flags & FLOW_HAIRPIN != 0 {
        return [0, 0];
    }
    let [mut sender, mut receiver] = found.ends();
    if found.place.direction() != 0 {
        (sender, receiver) = (receiver, sender);
    }
    let host = u32::from(ENDPOINT_HOST);
    if sender == host {
        return [0, 0];
    }
    [sender, if receiver == host { 0 } else { receiver }]
}

/// Whether the policies that allowed a known flow are those in force.
#[inline(always)]
pub fn is_current<F: Family>(found: &Found<F>) -> bool {
    let [sender, receiver] = judges(found);
    if sender != 0 && policy::word(sender).epoch != found.epoch(0) {
        return false;
    }
    receiver == 0 || policy::word(receiver).epoch == found.epoch(1)
}

/// Judges a known flow anew where its policy has changed. A flow that is denied stays and is judged by each packet: without
/// it, the other side's next packet would begin the flow anew in its own direction.
#[inline(always)]
pub fn again<F: Family>(found: &Found<F>) -> Verdict {
    let [sender, receiver] = judges(found);
    if sender != 0 {
        let word = policy::word(sender);
        if word.epoch != found.epoch(0) {
            // SAFETY: a record of the map.
            let to = unsafe { &*found.target_of(0) };
            let port = port_of(found, to.destination_port);
            let question = policy::egress::<F>(&word, to.destination, found.head.protocol, port);
            let verdict = ask(found, 0, word.epoch, question);
            if verdict != CONTINUE {
                return verdict;
            }
        }
    }
    if receiver != 0 {
        let word = policy::word(receiver);
        if word.epoch != found.epoch(1) {
            // The beginner's own address, which a translated source hides.
            // SAFETY: a record of the map.
            let (from, to) = unsafe { (&*found.target_of(1), &*found.target_of(0)) };
            let port = port_of(found, to.destination_port);
            let question = policy::ingress::<F>(&word, from.destination, found.head.protocol, port);
            return ask(found, 1, word.epoch, question);
        }
    }
    CONTINUE
}

#[inline(always)]
fn port_of<F: Family>(found: &Found<F>, port: u16) -> u16 {
    if found.head.protocol == F::ICMP {
        u16::from_be_bytes([F::ECHO_REQUEST, 0])
    } else {
        u16::from_be(port)
    }
}

#[inline(always)]
fn ask<F: Family>(found: &Found<F>, side: usize, epoch: u32, mut question: Question<F>) -> Verdict {
    let verdict = policy::judge(&mut question);
    if verdict == CONTINUE {
        found.allow(side, epoch);
    }
    verdict
}

use crate::machine::verdict::Verdict;
