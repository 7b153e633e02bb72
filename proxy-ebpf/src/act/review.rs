//! Revalidation: a known flow held against what has changed since it began: its Service and the policies of its ends. Few packets need it.

use core::ptr::read_volatile;

use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::conntrack::{FLOW_MASQUERADED, Head};

use super::course::hook;
use super::{judge, relay};
use crate::know::service;
use crate::machine::global::global;
use crate::machine::verdict::CONTINUE;
use crate::machine::words::same;
use crate::maps::Family;
use crate::packet::description::{ERROR, Packet};
use crate::track::flow::{self, Found};

global! {
    /// Reviews the flow of a packet at a hook (`course::hook`); `turned` is 1 if the packet was turned into its target
    /// already. `CONTINUE`: it may be followed, or has been ended because a new one must begin. Else why the packet is dropped.
    pub fn review(packet: Packet; at, turned) = run
}

#[inline(always)]
fn run<F: Family>(packet: &mut Packet<F>, at: u32, turned: u32) -> Verdict {
    let tuple = if turned == 0 {
        packet.tuple
    } else {
        packet.tuple.reversed()
    };
    let Some(mut found) = flow::find::<F>(&tuple, packet.protocol, packet.now) else {
        return CONTINUE;
    };
    found.turn(turned);
    if turned == 0 && is_due(packet, &found, at) {
        if !serves(packet, &found, at) {
            found.end();
            return CONTINUE;
        }
        note(&found);
    }
    judge::again(&found)
}

/// Whether the flow must be held against its Service: by a packet that opens it once more, and by datagrams once Services
/// have changed.
#[inline(always)]
pub fn is_due<F: Family>(packet: &Packet<F>, found: &Found<F>, at: u32) -> bool {
    if found.place.direction() != 0 || packet.shape == ERROR || at == hook::TO_POD {
        return false;
    }
    match found.head.protocol {
        TCP | SCTP => packet.opens(),
        UDP => !found.head.compared_at(service::epoch()),
        _ => false,
    }
}

#[inline(always)]
fn note<F: Family>(found: &Found<F>) {
    if found.head.protocol == UDP {
        let seen = service::epoch();
        found.change(|head| Head { seen, ..head });
    }
}

/// Whether the flow is translated as it would be if it began now, but for the choice of a backend.
#[inline(always)]
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
    let masqueraded = found.head.flags & FLOW_MASQUERADED != 0;
    if id == 0 && !masqueraded && !same(target, &packet.tuple) {
        // Translated, but by no Service, nor for want of one.
        return true;
    }
    relay::leads(found, backend)
        && service::still_serves(packet, id, backend, hook::is_outside(at)) == CONTINUE
}

use crate::machine::verdict::Verdict;
