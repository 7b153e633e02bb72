//! Services: from a frontend to one of its backends.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::affinity::{Affinity, AffinityKey};
use proxy_common::backends::{MemberKey, SlotKey};
use proxy_common::conntrack::{FLOW_FROM_REMOTE, FLOW_REWRITE_FROM_LOCAL, FLOW_TO_NODE, FlowState};
use proxy_common::counters::{BACKEND_GONE, NO_BACKEND, NO_LOCAL_BACKEND};
use proxy_common::frontends::{
    FLAG_CLUSTER_IP, FLAG_EXTERNAL_DROP, FLAG_INTERNAL_DROP, FLAG_MEMBERS, Frontend,
};

use super::flow::is_datagram;
use super::packet::Packet;
use super::skb::Skb;
use super::verdict::{CONTINUE, NEXT, Verdict, dropped};
use super::wire::Wire;
use crate::frontend::find;
use crate::maps::{AFFINITY, BACKEND_MEMBERS, BACKEND_SLOTS, Family};

/// Backends that are tried when the translated flow clashes with another one; then as often with other source ports.
pub const ATTEMPTS: u32 = 4;

/// A Service's choice.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Pick<F: Family> {
    /// The backend's address.
    pub address: F::Address,
    /// Id of the Service port.
    pub service: u32,
    /// Id of the backend set.
    pub set: u32,
    /// Backends in the set.
    pub count: u32,
    /// Affinity time-out, seconds; 0 is none.
    pub affinity: u32,
    /// Id of the backend.
    pub backend: u32,
    /// The backend's port, network order.
    pub port: u16,
    /// Zero.
    pub pad: u16,
}

/// The frontend that a packet is sent to.
#[inline(always)]
fn of<F: Family>(packet: &Packet<F>) -> Option<&'static Frontend> {
    let to = &packet.flow;
    find::<F>(to.to, to.to_port, packet.protocol, || {
        F::node_address(to.to)
    })
}

/// Looks up the frontend. `NEXT`: the packet goes to none; `NO_BACKEND`: tell the client.
#[inline(always)]
pub fn frontend<F: Family>(_skb: Skb, packet: &mut Packet<F>, outside: u32) -> Verdict {
    if !matches!(packet.protocol, TCP | UDP | SCTP) {
        return NEXT;
    }
    let Some(frontend) = of(packet) else {
        return NEXT;
    };
    let outside = outside != 0 && frontend.flags & FLAG_CLUSTER_IP == 0;
    let (set, drop) = if outside {
        (&frontend.external, FLAG_EXTERNAL_DROP)
    } else {
        (&frontend.internal, FLAG_INTERNAL_DROP)
    };
    if set.count == 0 {
        return dropped(if frontend.flags & drop != 0 {
            NO_LOCAL_BACKEND
        } else {
            NO_BACKEND
        });
    }
    let pick = &mut packet.pick;
    pick.service = frontend.service;
    pick.set = set.id;
    pick.count = set.count;
    pick.affinity = frontend.affinity_seconds;
    CONTINUE
}

/// Picks a backend: the one of the client's affinity, else any.
#[inline(always)]
pub fn choose<F: Family>(_skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let pick = &mut packet.pick;
    let client = AffinityKey {
        client: F::as_ipv6(packet.flow.from),
        service: pick.service,
    };
    let mut backend = 0;
    if pick.affinity != 0 {
        backend = remembered(&client, pick, packet.now);
    }
    if backend == 0 {
        // SAFETY: a helper without arguments.
        let random = unsafe { bpf_get_prandom_u32() };
        let index = random.checked_rem(pick.count).unwrap_or(0);
        let slot = SlotKey {
            set: pick.set,
            index,
        };
        // SAFETY: read at once; values are words.
        let Some(id) = (unsafe { BACKEND_SLOTS.get(slot) }) else {
            return dropped(BACKEND_GONE);
        };
        backend = *id;
    }
    let Some(stored) = F::backend(backend) else {
        return dropped(BACKEND_GONE);
    };
    pick.address = stored.address;
    pick.port = stored.port;
    pick.backend = backend;
    if pick.affinity != 0 {
        let value = Affinity {
            backend,
            last_used: packet.now,
        };
        // The map evicts by itself; without the entry the next connection chooses anew.
        AFFINITY.insert(client, value, 0).ok();
    }
    CONTINUE
}

/// The backend that the client had last, if it is still to be had; else 0.
#[inline(always)]
fn remembered<F: Family>(client: &AffinityKey, pick: &Pick<F>, now: u32) -> u32 {
    // SAFETY: read at once; values are words.
    let Some(&Affinity { backend, last_used }) = (unsafe { AFFINITY.get(client) }) else {
        return 0;
    };
    if last_used + pick.affinity < now || !is_member(pick.set, backend) {
        return 0;
    }
    backend
}

#[inline(always)]
fn is_member(set: u32, backend: u32) -> bool {
    let key = MemberKey { set, backend };
    BACKEND_MEMBERS.get_ptr(key).is_some()
}

/// Whether a datagram flow must begin anew: its backend serves its frontend no more, or there is a frontend
/// now where there was none. Connections stay as they are.
#[inline(always)]
pub fn moved<F: Wire>(skb: Skb, packet: &mut Packet<F>, state: &FlowState, outside: bool) -> bool {
    let begun_here = FLOW_REWRITE_FROM_LOCAL;
    let translated = state.service != 0
        && state.flags & (FLOW_REWRITE_FROM_LOCAL | FLOW_FROM_REMOTE) == begun_here;
    if !is_datagram(packet.protocol) || !translated && state.flags & FLOW_TO_NODE == 0 {
        return false;
    }
    F::still_serves(
        skb,
        packet,
        state.service,
        state.backend,
        u32::from(outside),
    ) != CONTINUE
}

/// Whether a packet's frontend is still that of a Service port (0: none at all) and has this backend.
#[inline(always)]
pub fn still_serves<F: Family>(
    _skb: Skb,
    packet: &mut Packet<F>,
    service: u32,
    backend: u32,
    outside: u32,
) -> Verdict {
    let Some(frontend) = of(packet) else {
        return if service == 0 { CONTINUE } else { NEXT };
    };
    let set = if outside != 0 && frontend.flags & FLAG_CLUSTER_IP == 0 {
        frontend.external.id
    } else {
        frontend.internal.id
    };
    if frontend.service == service
        && (frontend.flags & FLAG_MEMBERS == 0 || is_member(set, backend))
    {
        CONTINUE
    } else {
        NEXT
    }
}
