//! What a pod receives: tracking, reverse translation, ingress policy, and the way into it.

use proxy_common::conntrack::{
    FLOW_FROM_REMOTE, FLOW_NO_TWIN, FLOW_REMOTE_POD, FLOW_REWRITE_FROM_LOCAL, FLOW_REWRITE_TO_LOCAL,
};
use proxy_common::counters::{FRAGMENT_UNKNOWN, REWRITE_FAILED};
use proxy_common::endpoints::{ENDPOINT_SHAPED, LocalPod};
use proxy_common::policy::peers::{PEER_NODE, PEER_POD, PEER_UNKNOWN_POD};
use proxy_common::policy::words::ROW_ALLOW_ALL;

use super::address::same;
use super::flow::{beginning, find, reopens, touch};
use super::packet::{
    ERROR, MARK_EGRESS, MARK_FROM_HOST, MARK_FROM_NET, MARK_FRONTEND, Packet, UNKNOWN_FRAGMENT,
    reversed,
};
use super::policy;
use super::skb::{Skb, redirect, redirect_peer};
use super::verdict::{CONTINUE, NEXT, Verdict, dropped};
use super::wire::Wire;
use crate::maps::FlowTuple;

/// A packet on its way to an endpoint: `CONTINUE` if the pod may have it, reverse translation done.
#[inline(always)]
pub fn receive<F: Wire>(skb: Skb, packet: &mut Packet<F>, endpoint: u32) -> Verdict {
    let word = policy::word(endpoint);
    if packet.shape == UNKNOWN_FRAGMENT {
        return if packet.marks & MARK_FROM_NET != 0 {
            NEXT
        } else if word.ingress_row == ROW_ALLOW_ALL {
            CONTINUE
        } else {
            dropped(FRAGMENT_UNKNOWN)
        };
    }
    let key = F::flow_key(endpoint, packet.protocol, &reversed(&packet.flow));
    packet.key = key;
    if let Some(found) = find::<F>(&key, packet.now) {
        if reopens(packet, found.state()) {
            F::forget(packet, found.entry, endpoint);
        } else if is_stacks(packet, found.state().flags) {
            return NEXT;
        } else {
            if found.state().epoch != word.epoch && packet.marks & MARK_FROM_HOST == 0 {
                let verdict = F::again(packet, found.entry, endpoint, false);
                if verdict != CONTINUE {
                    // The entry stays and is judged by each packet: without it, the other side's next
                    // packet would begin the flow anew in its own direction.
                    return verdict;
                }
            }
            let translates = found.state().flags & FLOW_REWRITE_TO_LOCAL != 0;
            if translates {
                // Before `touch`, which may move the entry and leave its place to another.
                packet.target = found.rewrite();
            }
            touch(packet, endpoint, &found, false);
            if translates {
                return F::rewrite_packet(skb, packet);
            }
            return CONTINUE;
        }
    }
    F::receive_new(skb, packet, endpoint)
}

/// No flow is known: ingress policy judges the true source.
#[inline(always)]
pub fn receive_new<F: Wire>(skb: Skb, packet: &mut Packet<F>, endpoint: u32) -> Verdict {
    let word = policy::word(endpoint);
    let port = packet.policy_port(packet.flow.to_port);
    let protocol = if packet.shape == ERROR {
        packet.carrier
    } else {
        packet.protocol
    };
    let mut question = policy::ingress::<F>(&word, packet.source, protocol, port);
    let verdict = F::judge(&mut question);
    let from_host = packet.marks & MARK_FROM_HOST != 0;
    if verdict != CONTINUE && !from_host && !is_too_big(packet) {
        return verdict;
    }
    if packet.shape == ERROR {
        return CONTINUE;
    }
    let mut flags = FLOW_FROM_REMOTE | remote_pod(question.peer);
    packet.back = packet.flow;
    if packet.marks & MARK_FRONTEND != 0 {
        flags |= FLOW_REWRITE_FROM_LOCAL;
        if packet.marks & (MARK_FROM_NET | MARK_FROM_HOST) == 0 {
            flags |= FLOW_NO_TWIN;
        }
        packet.back = FlowTuple {
            from: packet.frontend,
            to: packet.flow.from,
            from_port: packet.frontend_port,
            to_port: packet.client_port,
        };
    }
    packet.state = beginning(packet, flags);
    packet.state.epoch = word.epoch;
    packet.state.cookie = question.cookie;
    F::begin(skb, packet)
}

/// Whether a packet from outside answers a flow that the pod began through the stack: netfilter must see both
/// directions or neither. `to_pod` then does what is left.
#[inline(always)]
fn is_stacks<F: Wire>(packet: &Packet<F>, flags: u32) -> bool {
    let past_it = flags & (FLOW_REMOTE_POD | FLOW_FROM_REMOTE) != 0;
    packet.marks & (MARK_FROM_NET | MARK_FRONTEND) == MARK_FROM_NET && !past_it
}

/// "Too big" about a packet that the pod sent: without it connections hang (RFC 1191, RFC 8201).
#[inline(always)]
fn is_too_big<F: Wire>(packet: &Packet<F>) -> bool {
    let too_big = if F::IPV6 { 2 << 8 } else { 3 << 8 | 4 };
    packet.shape == ERROR && packet.icmp == too_big && same(&packet.flow.to, &packet.destination)
}

/// `FLOW_REMOTE_POD` if the peer is a pod.
#[inline(always)]
pub fn remote_pod(peer: u32) -> u32 {
    if peer & (PEER_POD | PEER_UNKNOWN_POD) != 0 && peer & PEER_NODE == 0 {
        FLOW_REMOTE_POD
    } else {
        0
    }
}

/// Hands the packet to the pod that has its destination; `CONTINUE` if none has.
#[inline(always)]
pub fn deliver<F: Wire>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let Some(pod) = F::local_pod(packet.destination) else {
        return CONTINUE;
    };
    let verdict = F::receive(skb, packet, pod.endpoint);
    if verdict != CONTINUE {
        return verdict;
    }
    hand_over(skb, pod, packet.marks & MARK_EGRESS != 0)
}

/// The way into the pod: straight to its side, or through the host side's queue.
#[inline(always)]
pub fn hand_over(skb: Skb, pod: &LocalPod, egress: bool) -> Verdict {
    if !egress && pod.flags & ENDPOINT_SHAPED == 0 {
        return redirect_peer(pod.ifindex);
    }
    let ends = [pod.pod_mac, pod.host_mac];
    if !skb.store(0, &ends) {
        return dropped(REWRITE_FAILED);
    }
    redirect(pod.ifindex, 0)
}
