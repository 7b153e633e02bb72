//! Services: from a frontend to one of its backends.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::affinity::{Affinity, AffinityKey};
use proxy_common::backends::{MEMBER_LINGERS, MemberKey, SlotKey};
use proxy_common::counters::{BACKEND_GONE, NO_BACKEND, NO_LOCAL_BACKEND, SOURCE_RANGE};
use proxy_common::frontends::{
    FLAG_CLUSTER_IP, FLAG_DIRECT, FLAG_EXTERNAL_DROP, FLAG_INTERNAL_DROP, FLAG_MEMBERS,
    FLAG_RELAYED, Frontend,
};
use proxy_common::node::{ADDRESS_HOST_PORT, ADDRESS_NODE_PORT};

use super::frontend;
use super::inside;
use super::maglev;
use super::node;
use super::sources;
use crate::machine::global::global;
use crate::machine::verdict::{CONTINUE, NEXT};
use crate::machine::words::to_stack;
use crate::maps::{AFFINITY, BACKEND_MEMBERS, BACKEND_SLOTS, Family, SERVICE_EPOCH};
use crate::packet::description::Packet;

/// A Service's choice.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Choice<F: Family> {
    /// Who asks, for affinity: address as IPv6. Given.
    pub client: AffinityKey,
    /// Id of the backend set.
    pub set: u32,
    /// Backends in the set.
    pub count: u32,
    /// Affinity time-out, seconds; 0 is none.
    pub affinity: u32,
    /// Places in the table that chooses; 0 is none: any backend.
    pub table: u32,
    /// The flow's hash, if a table chooses; once backends are passed over, from where on others are tried.
    pub hash: u32,
    /// How many of the chosen backends had no port left for the flow: others are chosen, whatever affinity and table say.
    pub passed: u32,
    /// Id of the backend.
    pub backend: u32,
    /// The backend's address.
    pub address: F::Address,
    /// The backend's port, network order.
    pub port: u16,
    /// Zero.
    pub pad: u16,
    /// `FLAG_RELAYED` and `FLAG_DIRECT`, if a backend on another node is reached so.
    pub relay: u32,
}

/// `outside` of a packet that came to another node.
const THROUGH_ANOTHER: u32 = 2;

/// The frontend that a packet is sent to, which comes from this node (0), from outside (1), or through another node whose
/// address it may be for (2).
#[inline(always)]
fn of<F: Family>(packet: &Packet<F>, outside: u32) -> Option<&'static Frontend> {
    if !matches!(packet.protocol, TCP | UDP | SCTP) {
        return None;
    }
    let to = &packet.tuple;
    frontend::find::<F>(to.destination, to.destination_port, packet.protocol, || {
        // Only the host itself speaks from its loopback to it.
        if outside == THROUGH_ANOTHER {
            ADDRESS_NODE_PORT
        } else if F::is_loopback(to.destination) && F::is_loopback(to.source) {
            ADDRESS_NODE_PORT | ADDRESS_HOST_PORT
        } else {
            node::any_address::<F>(&to_stack(&to.destination))
        }
    })
}

global! {
    /// Whether (`CONTINUE`) a packet goes to a frontend.
    pub fn has_frontend(packet: Packet) = has
}

#[inline(always)]
fn has<F: Family>(packet: &mut Packet<F>) -> Verdict {
    if of(packet, 0).is_some() {
        CONTINUE
    } else {
        NEXT
    }
}

global! {
    /// Looks up a packet's frontend, for a client on the node (0), `outside` of it (1), or who asked another node (2), and
    /// begins a choice. `NEXT`: it goes to none; `NO_BACKEND`: tell the client; `SOURCE_RANGE`: the client may not use it, whoever serves there.
    pub fn find(packet: Packet, choice: Choice; outside) = begin
}

#[inline(always)]
fn begin<F: Family>(packet: &mut Packet<F>, choice: &mut Choice<F>, outside: u32) -> Verdict {
    let Some(frontend) = of(packet, outside) else {
        return NEXT;
    };
    if !sources::allow::<F>(frontend, &packet.tuple.source) {
        return dropped(SOURCE_RANGE);
    }
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
    choice.client.service = frontend.service;
    choice.set = set.id;
    choice.count = set.count;
    choice.affinity = frontend.affinity_seconds;
    choice.table = 0;
    choice.passed = 0;
    choice.relay = 0;
    if outside && frontend.maglev != 0 && !leaves_in_time(packet, frontend) {
        choice.table = frontend.maglev;
        choice.hash = maglev::hash(packet, frontend);
    }
    // Two nodes must choose alike: by a table, or because there is no choice.
    if outside && (choice.table != 0 || set.count == 1) {
        choice.relay = frontend.flags & (FLAG_RELAYED | FLAG_DIRECT);
    }
    if choice.relay != 0 {
        // The table does what affinity would, by the client's address alone.
        choice.affinity = 0;
    }
    CONTINUE
}

/// Whether a client's affinity has to end with its time-out. A table leads it to one backend for ever, for those whom routers spread
/// over nodes; pods and nodes come one way.
#[inline(always)]
fn leaves_in_time<F: Family>(packet: &Packet<F>, frontend: &Frontend) -> bool {
    frontend.affinity_seconds != 0 && inside::is_of_cluster::<F>(&to_stack(&packet.tuple.source))
}

global! {
    /// Picks a backend: the one of the client's affinity, else the table's, else any; one after the other, where these had no
    /// port left ([`Choice::passed`]). `now` in seconds since boot.
    pub fn choose(choice: Choice; now) = pick
}

#[inline(always)]
fn pick<F: Family>(choice: &mut Choice<F>, now: u32) -> Verdict {
    let mut backend = 0;
    if choice.affinity != 0 && choice.passed == 0 {
        backend = remembered(choice, now);
    }
    if backend == 0 {
        let index = if choice.passed == 0 {
            index(choice)
        } else {
            next(choice)
        };
        let set = choice.set;
        // The set may have shrunk since its size was read: every set has a first slot.
        let Some(id) = slot(set, index).or_else(|| slot(set, 0)) else {
            return dropped(BACKEND_GONE);
        };
        backend = id;
    }
    // SAFETY: read at once; values are replaced whole.
    let Some(stored) = (unsafe { F::backends().get(backend) }) else {
        return dropped(BACKEND_GONE);
    };
    choice.address = stored.address;
    choice.port = stored.port;
    choice.backend = backend;
    CONTINUE
}

/// The slot that a flow is given: the table's, if there is one; else any. A table that was made for a larger set may name one
/// that the set has no more.
#[inline(always)]
fn index<F: Family>(choice: &Choice<F>) -> u32 {
    let number = if choice.table == 0 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_prandom_u32() }
    } else {
        let slot = maglev::slot(choice.set, choice.table, choice.hash);
        if let Some(slot) = slot.filter(|slot| *slot < choice.count) {
            return slot;
        }
        choice.hash
    };
    number.checked_rem(choice.count).unwrap_or(0)
}

/// The next slot, after so many whose backends had no port left. Tables and affinity would lead to the same one again, and so
/// may chance: of a few backends all have had their turn after as many attempts.
#[inline(always)]
fn next<F: Family>(choice: &mut Choice<F>) -> u32 {
    if choice.passed == 1 && choice.table == 0 {
        // SAFETY: a helper without arguments.
        choice.hash = unsafe { bpf_get_prandom_u32() };
    }
    let number = choice.hash.wrapping_add(choice.passed);
    number.checked_rem(choice.count).unwrap_or(0)
}

/// Id of the backend in a slot of a set.
#[inline(always)]
pub fn slot(set: u32, index: u32) -> Option<u32> {
    // SAFETY: an id is one word.
    unsafe { BACKEND_SLOTS.get(SlotKey { set, index }) }.copied()
}

/// The backend that the client had last, if it is still to be had; else 0.
#[inline(always)]
fn remembered<F: Family>(choice: &Choice<F>, now: u32) -> u32 {
    // On the stack: before Linux 6.4, helpers take no key from the memory that a global function was given.
    let client = choice.client;
    // SAFETY: read at once; values are words.
    let Some(&Affinity { backend, last_used }) = (unsafe { AFFINITY.get(client) }) else {
        return 0;
    };
    if now.wrapping_sub(last_used) >= choice.affinity || !takes_clients(choice.set, backend) {
        return 0;
    }
    backend
}

/// Whether a set has a backend, be it one that only its old clients keep.
#[inline(always)]
pub fn is_member(set: u32, backend: u32) -> bool {
    BACKEND_MEMBERS
        .get_ptr(MemberKey { set, backend })
        .is_some()
}

/// Whether new flows may go to a backend of a set: not if it terminates while others serve.
#[inline(always)]
pub fn takes_clients(set: u32, backend: u32) -> bool {
    // SAFETY: one word, read at once.
    let member = unsafe { BACKEND_MEMBERS.get(MemberKey { set, backend }) };
    member.is_some_and(|slot| *slot != MEMBER_LINGERS)
}

global! {
    /// Whether (`CONTINUE`) a packet's frontend is still that of a Service port (0: none at all) and has this backend.
    pub fn still_serves(packet: Packet; service, backend, outside) = serves
}

#[inline(always)]
fn serves<F: Family>(packet: &mut Packet<F>, service: u32, backend: u32, outside: u32) -> Verdict {
    let Some(frontend) = of(packet, outside) else {
        return if service == 0 { CONTINUE } else { NEXT };
    };
    let set = if outside != 0 && frontend.flags & FLAG_CLUSTER_IP == 0 {
        frontend.external.id
    } else {
        frontend.internal.id
    };
    let has = if frontend.flags & FLAG_MEMBERS != 0 {
        is_member(set, backend)
    } else {
        F::backends().get_ptr(backend).is_some()
    };
    if frontend.service == service && has {
        CONTINUE
    } else {
        NEXT
    }
}

/// Grows with each change that a flow of datagrams follows.
#[inline(always)]
pub fn epoch() -> u32 {
    SERVICE_EPOCH.get_ptr(0).map_or(0, |epoch| {
        // SAFETY: one aligned load.
        unsafe { core::ptr::read_volatile(epoch) }
    })
}

use crate::machine::verdict::{Verdict, dropped};
