//! `from_pod`: ingress of a pod's interface on the host. What the pod sends.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::conntrack::{
    FLOW_FROM_REMOTE, FLOW_HAIRPIN, FLOW_NO_TWIN, FLOW_REMOTE_POD, FLOW_REWRITE_FROM_LOCAL,
};
use proxy_common::counters::{FRAGMENT_UNKNOWN, NO_BACKEND, UNKNOWN_ENDPOINT};
use proxy_common::policy::words::ROW_ALLOW_ALL;

use super::address::same;
use super::at_node::{to_host, translate};
use super::begin::from_frontend;
use super::enter::{by_family, describe};
use super::flow::{find, reopens, touch};
use super::node::forwards;
use super::packet::{ERROR, MARK_HAIRPIN, MARK_ROUTE, Packet, UNKNOWN_FRAGMENT};
use super::service::moved;
use super::skb::{Skb, redirect_peer};
use super::verdict::{CONTINUE, NEXT, Verdict, count, dropped, finish_at_pod};
use super::wire::Wire;
use super::{deliver, policy};
use crate::maps::{ENDPOINTS, V4, V6};

/// The program.
#[classifier]
pub fn from_pod(context: TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    finish_at_pod(skb, by_family(skb, run::<V4>, run::<V6>))
}

#[inline(always)]
fn run<F: Wire>(skb: Skb) -> Verdict {
    // SAFETY: values are replaced whole by the agent.
    let Some(endpoint) = (unsafe { ENDPOINTS.get(skb.ifindex()) }) else {
        return dropped(UNKNOWN_ENDPOINT);
    };
    let packet = match describe::<F>(skb, 0) {
        Ok(packet) => packet,
        Err(verdict) => return verdict,
    };
    let mut verdict = F::own(endpoint, packet);
    if verdict == CONTINUE {
        verdict = send(skb, packet, endpoint.id);
    }
    if verdict == dropped(NO_BACKEND) {
        verdict = F::reject(skb, packet);
        if verdict == CONTINUE {
            count(skb, NO_BACKEND);
            return redirect_peer(skb.ifindex());
        }
    }
    if verdict == CONTINUE {
        verdict = onward(skb, packet);
    }
    verdict
}

/// Tracking, translation and egress policy. `CONTINUE`: the packet may go where its destination says.
#[inline(always)]
fn send<F: Wire>(skb: Skb, packet: &mut Packet<F>, endpoint: u32) -> Verdict {
    let word = policy::word(endpoint);
    if packet.shape == UNKNOWN_FRAGMENT {
        // Without ports there is no telling whether this is for a Service, unless a pod has the address.
        return if word.egress_row == ROW_ALLOW_ALL && F::local_pod(packet.destination).is_some() {
            CONTINUE
        } else {
            dropped(FRAGMENT_UNKNOWN)
        };
    }
    if packet.shape == ERROR && !same(&packet.destination, &packet.flow.to) {
        // A pod is no router: this is not for who sent the packet that it quotes. The flow does not vouch for it.
        return F::begin_from_pod(skb, packet, endpoint);
    }
    packet.key = F::flow_key(endpoint, packet.protocol, &packet.flow);
    if let Some(found) = find::<F>(&packet.key, packet.now) {
        if reopens(packet, found.state()) || moved(skb, packet, found.state(), false) {
            F::forget(packet, found.entry, endpoint);
        } else {
            if found.state().epoch != word.epoch {
                let verdict = F::again(packet, found.entry, endpoint, true);
                if verdict != CONTINUE {
                    // The entry stays and is judged by each packet: without it, the other side's next
                    // packet would begin the flow anew in its own direction.
                    return verdict;
                }
            }
            let flags = found.state().flags;
            if flags & FLOW_REWRITE_FROM_LOCAL != 0 {
                // Before `touch`, which may move the entry and leave its place to another.
                packet.target = found.rewrite();
            }
            touch(packet, endpoint, &found, true);
            if flags & FLOW_REWRITE_FROM_LOCAL == 0 {
                // Netfilter must see both directions of a flow or none: what came past it leaves past it.
                if flags & FLOW_REMOTE_POD != 0
                    || flags & FLOW_FROM_REMOTE != 0 && F::node_address(packet.destination) == 0
                {
                    packet.marks |= MARK_ROUTE;
                }
                return CONTINUE;
            }
            if flags & FLOW_HAIRPIN != 0 {
                packet.marks |= MARK_HAIRPIN;
            } else if flags & (FLOW_REMOTE_POD | FLOW_FROM_REMOTE) != 0 {
                // The stack would take an answer in the node's own name for a forgery.
                packet.marks |= MARK_ROUTE;
            }
            if flags & FLOW_NO_TWIN != 0 {
                // Should the serving pod's entry be gone, it is made again with this.
                from_frontend(packet);
            }
            return F::rewrite_packet(skb, packet);
        }
    }
    F::begin_from_pod(skb, packet, endpoint)
}

/// To where the destination is.
#[inline(always)]
fn onward<F: Wire>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    if packet.marks & MARK_HAIRPIN != 0 {
        return redirect_peer(skb.ifindex());
    }
    if forwards() {
        let verdict = deliver::deliver(skb, packet);
        if verdict != CONTINUE {
            return verdict;
        }
        if packet.marks & MARK_ROUTE != 0 {
            return F::route(skb, packet);
        }
    }
    if F::node_address(packet.destination) != 0 {
        // The host may have come by a frontend.
        let verdict = translate(skb, packet);
        return if verdict == CONTINUE {
            to_host(skb)
        } else {
            verdict
        };
    }
    NEXT
}
