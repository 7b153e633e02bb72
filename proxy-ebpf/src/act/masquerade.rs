//! Masquerade: what pods send out of the cluster leaves in the node's name, with an address of the link by which it leaves.
//!
//! In "bpf" forwarding a pod's interface turns it and sends it on. In "stack" forwarding the stack has it as the pod sent it,
//! and the link turns it (`hook::to_net`): netfilter sees the pod and its peer, in both directions. The link has also what
//! the programs leave to the stack, which knows how to cut it into fragments or what to answer.

use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::counters::NOT_MASQUERADED;
use proxy_common::node::LINK_LEFT_ALONE;

use super::course::hook;
use super::draft::{Draft, LATER, MASQUERADED};
use crate::know::next_hop::{self, Between};
use crate::know::{inside, node};
use crate::machine::frame::Buffer;
use crate::machine::global::global;
use crate::machine::verdict::CONTINUE;
use crate::machine::words::to_stack;
use crate::maps::Family;
use crate::packet::description::{ERROR, Packet};

global! {
    /// Says of a pod's flow that was judged whether it is masqueraded: `draft.way` is `MASQUERADED` or `LATER` then, else as it
    /// was. `NOT_MASQUERADED`: it must be, and cannot.
    pub fn consider(buffer, packet: Packet, draft: Draft; at) = run
}

#[inline(always)]
fn run<B: Buffer, F: Family>(
    buffer: B,
    packet: &mut Packet<F>,
    draft: &mut Draft<F>,
    at: u32,
) -> Verdict {
    if draft.start.outward == 0 || !node::masquerades::<F>() {
        return CONTINUE;
    }
    let to = if packet.shape == ERROR {
        to_stack(&packet.destination)
    } else {
        to_stack(&draft.start.flow.target[0].destination)
    };
    if inside::has::<F>(&to) {
        return CONTINUE;
    }
    draft.link = buffer.ifindex();
    if at == hook::FROM_POD {
        // Routed as the stack would: by the pod's own address.
        let between = Between {
            source: packet.source,
            destination: to,
            protocol: packet.protocol,
            now: packet.now,
            bare: true,
            own: false,
        };
        let Some((hop, _)) = next_hop::find::<B, F>(buffer, &between) else {
            // The stack answers; should it know a way, the link turns the packet.
            draft.way = LATER;
            return CONTINUE;
        };
        draft.link = hop.ifindex;
    }
    match node::link_flags(draft.link) {
        // No program would see the answers.
        Some(flags) if flags & LINK_LEFT_ALONE != 0 => return CONTINUE,
        Some(_) => {}
        // It has just come, and has no program yet that would give this its name: it is sent again in a moment.
        None => return dropped(NOT_MASQUERADED),
    }
    if !can_be(packet) {
        return dropped(NOT_MASQUERADED);
    }
    draft.way = if at == hook::FROM_POD && !node::forwards() {
        LATER
    } else {
        MASQUERADED
    };
    CONTINUE
}

/// Whether answers can be told from the node's own: by ports, or by the identifier of an echo.
#[inline(always)]
fn can_be<F: Family>(packet: &Packet<F>) -> bool {
    if packet.shape == ERROR {
        return false;
    }
    matches!(packet.protocol, TCP | UDP | SCTP) || packet.asks()
}

use crate::machine::verdict::{Verdict, dropped};
