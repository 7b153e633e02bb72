//! `to_pod`: egress of a pod's interface on the host. What the stack gives to the pod.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::counters::UNKNOWN_ENDPOINT;

use super::enter::{by_family, describe};
use super::own::is_neighbour;
use super::packet::{MARK_EGRESS, MARK_FROM_HOST, Packet};
use super::skb::Skb;
use super::verdict::{NEXT, Verdict, dropped, finish_at_pod};
use super::wire::Wire;
use crate::maps::{ENDPOINTS, V4, V6};

/// The program. A packet that has been through `receive` already finds its flow and passes unchanged.
#[classifier]
pub fn to_pod(context: TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    finish_at_pod(
        skb,
        by_family(
            skb,
            |skb| run::<V4>(skb, |_| false),
            |skb| run::<V6>(skb, is_neighbour),
        ),
    )
}

#[inline(always)]
fn run<F: Wire>(skb: Skb, is_neighbour: impl Fn(&Packet<F>) -> bool) -> Verdict {
    // SAFETY: values are replaced whole by the agent.
    let Some(endpoint) = (unsafe { ENDPOINTS.get(skb.ifindex()) }) else {
        return dropped(UNKNOWN_ENDPOINT);
    };
    let marks = if skb.ingress_ifindex() == 0 {
        MARK_FROM_HOST | MARK_EGRESS
    } else {
        MARK_EGRESS
    };
    let packet = match describe::<F>(skb, marks) {
        Ok(packet) => packet,
        Err(verdict) => return verdict,
    };
    if is_neighbour(packet) {
        return NEXT;
    }
    F::receive(skb, packet, endpoint.id)
}
