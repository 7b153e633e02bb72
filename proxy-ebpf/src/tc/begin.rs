//! Flows that begin: Service translation and egress policy, then the entries.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use proxy_common::address::SCTP;
use proxy_common::conntrack::{
    FLOW_FROM_REMOTE, FLOW_HAIRPIN, FLOW_NO_TWIN, FLOW_REMOTE_POD, FLOW_REWRITE_FROM_LOCAL,
    FLOW_REWRITE_TO_LOCAL, FLOW_TO_NODE,
};
use proxy_common::counters::{BACKEND_GONE, FLOW_CLASH, FLOWS_FULL};

use super::address::same;
use super::deliver::remote_pod;
use super::flow::{NODE, beginning, find, is_datagram, reopens};
use super::node::{config, forwards};
use super::packet::{
    ERROR, MARK_FORWARDED, MARK_FROM_HOST, MARK_FRONTEND, MARK_HAIRPIN, MARK_ROUTE, MARK_TO_HOST,
    Packet, reversed,
};
use super::policy;
use super::scratch;
use super::service::ATTEMPTS;
use super::skb::Skb;
use super::verdict::{CONTINUE, NEXT, Verdict, dropped};
use super::wire::Wire;

/// The first port that any process may use.
const UNPRIVILEGED: u16 = 1024;

/// A flow that a pod begins. `CONTINUE` once it is tracked and the packet rewritten.
#[inline(always)]
pub fn from_pod<F: Wire>(skb: Skb, packet: &mut Packet<F>, endpoint: u32) -> Verdict {
    if packet.shape != ERROR {
        let verdict = F::frontend_of(skb, packet, 0);
        if verdict == CONTINUE {
            return to_service(skb, packet, endpoint);
        }
        if verdict != NEXT {
            return verdict;
        }
    }
    packet.target = packet.flow;
    packet.state = beginning(packet, 0);
    let verdict = ask(packet, endpoint);
    if verdict != CONTINUE || packet.shape == ERROR {
        return verdict;
    }
    packet.key = F::flow_key(endpoint, packet.protocol, &packet.flow);
    packet.back = packet.flow;
    if is_datagram(packet.protocol) && F::node_address(packet.flow.to) != 0 {
        packet.state.flags |= FLOW_TO_NODE;
    }
    mark(packet);
    F::begin(skb, packet)
}

/// Egress policy on the translated destination.
#[inline(always)]
fn ask<F: Wire>(packet: &mut Packet<F>, endpoint: u32) -> Verdict {
    let word = policy::word(endpoint);
    let (address, protocol) = if packet.shape == ERROR {
        (packet.destination, packet.carrier)
    } else {
        (packet.target.to, packet.protocol)
    };
    let port = packet.policy_port(packet.target.to_port);
    let mut question = policy::egress::<F>(&word, address, protocol, port);
    let verdict = F::judge(&mut question);
    packet.state.epoch = word.epoch;
    packet.state.cookie = question.cookie;
    packet.state.flags |= remote_pod(question.peer);
    verdict
}

#[inline(always)]
fn mark<F: Wire>(packet: &mut Packet<F>) {
    if packet.state.flags & FLOW_HAIRPIN != 0 {
        packet.marks |= MARK_HAIRPIN;
    }
    if packet.state.flags & FLOW_REMOTE_POD != 0 {
        packet.marks |= MARK_ROUTE;
    }
}

/// A pod's flow to a frontend.
#[inline(always)]
fn to_service<F: Wire>(skb: Skb, packet: &mut Packet<F>, endpoint: u32) -> Verdict {
    for tried in 0..attempts(packet) {
        packet.target.from_port = source_port(packet, tried);
        let verdict = F::attempt(skb, packet, endpoint);
        if verdict == CONTINUE {
            return F::rewrite_packet(skb, packet);
        }
        if verdict != dropped(FLOW_CLASH) {
            return verdict;
        }
    }
    dropped(FLOW_CLASH)
}

/// Half of them with the client's own port. Of SCTP, whose checksum covers the ports, these are all.
#[inline(always)]
fn attempts<F: Wire>(packet: &Packet<F>) -> u32 {
    if packet.protocol == SCTP {
        ATTEMPTS
    } else {
        2 * ATTEMPTS
    }
}

/// The client's own port; where other flows of its to these backends have that, any other, as netfilter does. Affinity
/// leads to the same backend again.
#[inline(always)]
fn source_port<F: Wire>(packet: &Packet<F>, tried: u32) -> u16 {
    let other_backend = packet.pick.affinity == 0 || packet.protocol == SCTP;
    if tried == 0 || tried < ATTEMPTS && other_backend {
        return packet.flow.from_port;
    }
    // SAFETY: a helper without arguments.
    let random = unsafe { bpf_get_prandom_u32() };
    (UNPRIVILEGED + random as u16 % (u16::MAX - UNPRIVILEGED)).to_be()
}

/// Chooses a backend and aims at it: `target` but for the source's port, and `state`.
#[inline(always)]
fn aim<F: Wire>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let verdict = F::choose(skb, packet);
    if verdict != CONTINUE {
        return verdict;
    }
    packet.target.from = packet.flow.from;
    packet.target.to = packet.pick.address;
    packet.target.to_port = packet.pick.port;
    packet.state = beginning(packet, FLOW_REWRITE_FROM_LOCAL);
    packet.state.service = packet.pick.service;
    packet.state.backend = packet.pick.backend;
    CONTINUE
}

/// One backend: if policy lets the pod reach it and its answers can be told apart, the flow is tracked.
#[inline(always)]
pub fn attempt<F: Wire>(skb: Skb, packet: &mut Packet<F>, endpoint: u32) -> Verdict {
    let verdict = aim(skb, packet);
    if verdict != CONTINUE {
        return verdict;
    }
    let hairpin = same(&packet.target.to, &packet.flow.from);
    if hairpin {
        packet.target.from = packet.flow.to;
        packet.state.flags |= FLOW_HAIRPIN;
        packet.key = F::flow_key(endpoint, packet.protocol, &reversed(&packet.target));
    } else {
        let verdict = ask(packet, endpoint);
        if verdict != CONTINUE {
            return verdict;
        }
        packet.key = F::flow_key(endpoint, packet.protocol, &packet.target);
    }
    let verdict = claim_answers(skb, packet);
    if verdict != CONTINUE {
        return verdict;
    }
    let verdict = toward_target(skb, packet, endpoint);
    mark(packet);
    verdict
}

/// Sees to it that the answers of a pod's flow to a Service will be turned round: by the serving pod's own
/// entry if that is here, else by a twin in the client's scope.
#[inline(always)]
fn claim_answers<F: Wire>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let flags = packet.state.flags;
    if flags & FLOW_HAIRPIN == 0
        && forwards()
        && let Some(pod) = F::local_pod(packet.target.to)
    {
        let verdict = F::beside_pod(skb, packet, pod.endpoint);
        if verdict == CONTINUE {
            packet.state.flags |= FLOW_NO_TWIN;
            from_frontend(packet);
        }
        return verdict;
    }
    packet.state.flags = if flags & FLOW_HAIRPIN != 0 {
        flags | FLOW_FROM_REMOTE
    } else {
        flags & !FLOW_REWRITE_FROM_LOCAL | FLOW_REWRITE_TO_LOCAL
    };
    packet.back = reversed(&packet.flow);
    let verdict = F::claim(skb, packet);
    packet.state.flags = flags;
    verdict
}

/// Tells [`super::deliver`] by which frontend the packet came, and from which port.
#[inline(always)]
pub fn from_frontend<F: Wire>(packet: &mut Packet<F>) {
    packet.frontend = packet.flow.to;
    packet.frontend_port = packet.flow.to_port;
    packet.client_port = packet.flow.from_port;
    packet.marks |= MARK_FRONTEND;
}

/// The entry that turns the client's packets to their target.
#[inline(always)]
fn toward_target<F: Wire>(skb: Skb, packet: &mut Packet<F>, scope: u32) -> Verdict {
    packet.key = F::flow_key(scope, packet.protocol, &packet.flow);
    packet.back = packet.target;
    F::begin(skb, packet)
}

/// A flow to a frontend that begins outside, or in the host's own stack. `NEXT` if it goes to none.
#[inline(always)]
pub fn at_node<F: Wire>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let outside = packet.marks & MARK_FROM_HOST == 0;
    let verdict = F::frontend_of(skb, packet, u32::from(outside));
    if verdict != CONTINUE {
        return verdict;
    }
    for tried in 0..attempts(packet) {
        packet.target.from_port = source_port(packet, tried);
        let verdict = F::attempt_at_node(skb, packet);
        if verdict == CONTINUE {
            from_frontend(packet);
            return F::rewrite_packet(skb, packet);
        }
        if verdict != dropped(FLOW_CLASH) {
            return verdict;
        }
    }
    dropped(FLOW_CLASH)
}

/// One backend for a flow through the node.
#[inline(always)]
pub fn attempt_at_node<F: Wire>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let verdict = aim(skb, packet);
    if verdict != CONTINUE {
        return verdict;
    }
    let verdict = answers(skb, packet);
    if verdict != CONTINUE {
        return verdict;
    }
    packet.state.flags = FLOW_REWRITE_FROM_LOCAL;
    toward_target(skb, packet, NODE)
}

/// The entries for the answers of a flow through the node; picks the source where it must be ours.
#[inline(always)]
fn answers<F: Wire>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let is_node = F::node_address(packet.target.to) != 0;
    if packet.marks & MARK_FROM_HOST != 0 {
        return answers_to_host(skb, packet, is_node);
    }
    if let Some(pod) = F::local_pod(packet.target.to) {
        if forwards() {
            return F::beside_pod(skb, packet, pod.endpoint);
        }
    } else if !is_node {
        return F::allocate(skb, packet);
    }
    answer(skb, packet, 0)
}

/// As [`answers`], for what the host's stack sends. Its own servers would answer past us, and the stack takes no
/// packet from itself: to them it goes in the name of an address that is routed to `weir_host`.
#[inline(always)]
fn answers_to_host<F: Wire>(skb: Skb, packet: &mut Packet<F>, is_node: bool) -> Verdict {
    if is_node {
        if config().host_device == 0 {
            return dropped(BACKEND_GONE);
        }
        packet.marks |= MARK_TO_HOST;
        return F::allocate(skb, packet);
    }
    packet.marks &= !MARK_TO_HOST;
    if packet.marks & MARK_FORWARDED == 0 {
        let verdict = answer(skb, packet, 0);
        if verdict != dropped(FLOW_CLASH) {
            return verdict;
        }
        // Two Services with this backend, two sockets on one port.
    }
    F::allocate(skb, packet)
}

/// The endpoint's own entry will turn the answers round: it must not be in use by another flow.
#[inline(always)]
pub fn beside_pod<F: Wire>(_skb: Skb, packet: &mut Packet<F>, endpoint: u32) -> Verdict {
    packet.key = F::flow_key(endpoint, packet.protocol, &reversed(&packet.target));
    let Some(key) = scratch::key::<F>() else {
        return dropped(FLOWS_FULL);
    };
    if let Some(found) = find::<F>(key, packet.now)
        && !reopens(packet, found.state())
    {
        packet.back = reversed(&packet.flow);
        if !same(&found.rewrite(), &packet.back)
            || found.state().flags & FLOW_REWRITE_FROM_LOCAL == 0
        {
            return dropped(FLOW_CLASH);
        }
    }
    CONTINUE
}

/// The node's entry that turns answers from the target into answers to the client.
#[inline(always)]
pub fn answer<F: Wire>(skb: Skb, packet: &mut Packet<F>, flags: u32) -> Verdict {
    packet.state.flags = flags | FLOW_FROM_REMOTE | FLOW_REWRITE_FROM_LOCAL;
    packet.key = F::flow_key(NODE, packet.protocol, &reversed(&packet.target));
    packet.back = reversed(&packet.flow);
    F::claim(skb, packet)
}
