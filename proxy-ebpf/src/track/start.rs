//! Flows that begin.

use core::ptr::{read_volatile, write_volatile};

use proxy_common::conntrack::{FLOW_BUSY, FLOW_ENDED, Flow, FlowKey, FlowPlace, Head};
use proxy_common::counters::{FLOW_CLASH, FLOWS_FULL};

use super::flow;
use super::life;
use super::slot::{self, Held};
use crate::know::node::timeouts;
use crate::machine::global::global;
use crate::machine::verdict::CONTINUE;
use crate::machine::words::{copy, same};
use crate::maps::{Family, V4, V6};
use crate::packet::description::{Packet, Target};

const NO_EXIST: u64 = 1;
/// How often a flow that stands in the way, dead, is cleared away.
const TRIES: u32 = 3;

/// A flow that is to begin.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Start<F: Family> {
    /// Its record but for `head` and `expires`.
    pub flow: Flow<F::Address>,
    /// Seconds since boot.
    pub now: u32,
    /// `FLOW_*` bits.
    pub flags: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
}

/// An untranslated flow that a packet begins, with nothing known yet of its ends.
#[inline(always)]
pub fn plain<F: Family>(start: &mut Start<F>, packet: &Packet<F>) {
    start.flow.epoch = [0; 2];
    start.flow.endpoint = [0; 2];
    start.flow.cookie = [0; 2];
    start.flow.service = 0;
    start.flow.backend = 0;
    let [first, second] = &mut start.flow.target;
    // SAFETY: three pairs of values made of words.
    unsafe {
        copy(&raw const packet.tuple, &raw mut *first);
        copy(&raw const packet.tuple.destination, &raw mut second.source);
        copy(&raw const packet.tuple.source, &raw mut second.destination);
    }
    second.source_port = packet.tuple.destination_port;
    second.destination_port = packet.tuple.source_port;
    start.now = packet.now;
    start.flags = 0;
    start.protocol = packet.protocol;
    start.pad = 0;
}

global! {
    /// Begins a flow. `CONTINUE`: it is there, or another processor began the same one just now, whose record then says into
    /// what packets are turned: `start.flow.target` is that. `FLOW_CLASH`: another flow has one of its tuples.
    /// `FLOWS_FULL`: there is no room.
    pub fn commit(start: Start) = insert
}

/// The key of a direction, from what the other one is turned into.
#[inline(always)]
fn key<F: Family>(other: &Target<F>, protocol: u8) -> FlowKey<F::Address> {
    FlowKey {
        tuple: other.reversed(),
        protocol: u32::from(protocol),
    }
}

/// Nobody has the key.
const FREE: u64 = 0;
/// Somebody is clearing it away.
const UNSETTLED: u64 = 1;
/// A flow that is over has it; its slot, as `slot::found` packs it, is in the other bits.
const OVER: u64 = 1 << 62;
/// A live flow has it; its place is in the lower bits.
const LIVE: u64 = 1 << 61;

/// The key of a direction of the flow to begin.
#[inline(always)]
fn key_of<F: Family>(start: &Start<F>, direction: u32) -> FlowKey<F::Address> {
    let [first, second] = &start.flow.target;
    key::<F>(if direction == 0 { second } else { first }, start.protocol)
}

/// Puts the key of a direction where none stands.
#[inline(never)]
fn put<F: Family>(start: &Start<F>, held: Held, direction: u32) -> bool {
    let place = FlowPlace::new(held.slot, direction, held.generation());
    F::flow_index()
        .insert(key_of(start, direction), place, NO_EXIST)
        .is_ok()
}

/// Who has the key of a direction.
#[inline(never)]
fn owner<F: Family>(start: &Start<F>, direction: u32) -> u64 {
    let key = key_of(start, direction);
    // SAFETY: eight bytes, read at once.
    let Some(place) = (unsafe { F::flow_index().get(&key) }).copied() else {
        return FREE;
    };
    let Some(record) = slot::record::<F>(place.slot()) else {
        return UNSETTLED;
    };
    // SAFETY: a record of the map; aligned words.
    let (word, expires) = unsafe {
        (
            read_volatile(&raw const (*record).head),
            read_volatile(&raw const (*record).expires),
        )
    };
    let head = Head::unpack(word);
    let busy = head.flags & FLOW_BUSY != 0;
    if u32::from(head.generation) != place.generation {
        if !busy {
            // Nobody is at work, and it is still there: left behind.
            slot::remove::<F>(&key, place);
        }
        return UNSETTLED;
    }
    let over = head.flags & FLOW_ENDED != 0 || expires < start.now || flow::is_closed(head);
    if over && !busy {
        return OVER | slot::found(place.slot(), head.generation);
    }
    LIVE | u64::from(place.slot_and_direction) << 16 | u64::from(head.generation)
}

/// Sees to it that nobody has the key of a direction, and keeps a slot that this sets free in `held`, or returns who has it.
#[inline(always)]
fn clear<F: Family>(start: &Start<F>, direction: u32, held: &mut Held) -> u64 {
    let mut who = UNSETTLED;
    for _ in 0..TRIES {
        who = owner(start, direction);
        if who == FREE || who & LIVE != 0 {
            break;
        }
        if who & OVER == 0 {
            continue;
        }
        let taken = Held::of(who, slot::hold::<F>(who));
        if taken.is_none() {
            continue;
        }
        if held.is_none() {
            *held = taken;
        } else {
            slot::release::<F>(taken);
        }
    }
    who
}

#[inline(always)]
fn insert<F: Family>(start: &mut Start<F>) -> Verdict {
    let mut held = Held::NONE;
    let mut direction = 0;
    let mut who = clear(start, 0, &mut held);
    if who == FREE {
        who = clear(start, 1, &mut held);
        direction = 1;
    }
    if who != FREE {
        if !held.is_none() {
            slot::release::<F>(held);
        }
        return met(start, who, direction);
    }
    let mut tried = 0;
    while held.is_none() && tried < TRIES {
        let slot = slot::search::<F>(start.now);
        if slot != 0 {
            held = Held::of(slot, slot::hold::<F>(slot));
        }
        tried += 1;
    }
    if held.is_none() || !write(start, held) {
        return dropped(FLOWS_FULL);
    }
    // In one order, whoever begins: of two ends that begin with each other at once, one is first.
    let [early, late] = if is_before(start) { [0, 1] } else { [1, 0] };
    direction = early;
    if put(start, held, early) {
        if put(start, held, late) {
            settle::<F>(held);
            return CONTINUE;
        }
        withdraw(start, held, early);
        direction = late;
    }
    slot::release::<F>(held);
    // Another processor was faster; if it has taken its claim back meanwhile, the caller tries another tuple.
    let who = owner(start, direction);
    met(start, who, direction)
}

/// Whether the key of direction 0 comes before that of direction 1, in an order that both ends of a plain flow see alike.
#[inline(always)]
fn is_before<F: Family>(start: &Start<F>) -> bool {
    let [first, second] = &start.flow.target;
    let (one, other): (*const u32, *const u32) =
        ((&raw const *first).cast(), (&raw const *second).cast());
    let mut word = 0;
    while word < size_of::<Target<F>>() / 4 {
        // SAFETY: below the size of both, which are made of such words.
        let (a, b) = unsafe { (one.add(word).read(), other.add(word).read()) };
        if a != b {
            return a < b;
        }
        word += 1;
    }
    true
}

/// Takes the key of a direction back.
#[inline(never)]
fn withdraw<F: Family>(start: &Start<F>, held: Held, direction: u32) {
    let place = FlowPlace::new(held.slot, direction, held.generation());
    slot::remove::<F>(&key_of(start, direction), place);
}

/// A flow has the key of a direction: it may be the same one, begun by another processor, or another one.
#[inline(always)]
fn met<F: Family>(start: &mut Start<F>, owner: u64, direction: u32) -> Verdict {
    if owner & LIVE == 0 {
        return dropped(FLOW_CLASH);
    }
    let place = FlowPlace {
        slot_and_direction: (owner >> 16) as u32,
        generation: (owner & 0xffff) as u32,
    };
    let Some(record) = slot::record::<F>(place.slot()) else {
        return dropped(FLOW_CLASH);
    };
    let [forth, back] = &start.flow.target;
    let turned = place.direction() != direction;
    // SAFETY: a record of the map; checked against its generation after it was read.
    let (is_ours, word) = unsafe {
        let theirs = (&raw const (*record).target).cast::<Target<F>>();
        let (first, second) = (&*theirs, &*theirs.add(1));
        let is_ours = if turned {
            // Begun by the other end at the same time: this packet is an answer.
            same(first, back) && same(second, forth)
        } else {
            same(second, back)
        };
        if is_ours && !turned {
            copy(theirs, &raw mut start.flow.target[0]);
        }
        (is_ours, read_volatile(&raw const (*record).head))
    };
    if is_ours && u32::from(Head::unpack(word).generation) == place.generation {
        CONTINUE
    } else {
        dropped(FLOW_CLASH)
    }
}

/// What a record holds behind head and expiry, in words.
#[repr(C)]
#[derive(Clone, Copy)]
struct Rest<F: Family> {
    known: [u32; 7],
    target: [Target<F>; 2],
}

const _: () = assert!(size_of::<Rest<V4>>() + 12 == size_of::<Flow<u32>>());
const _: () = assert!(size_of::<Rest<V6>>() + 12 == size_of::<Flow<[u32; 4]>>());

/// Fills the record of a slot that we hold. Nobody finds it before a key names it.
#[inline(always)]
fn write<F: Family>(start: &Start<F>, held: Held) -> bool {
    let Some(record) = slot::record::<F>(held.slot) else {
        return false;
    };
    let head = Head {
        flags: start.flags | FLOW_BUSY,
        protocol: start.protocol,
        generation: held.generation(),
        seen: 0,
    };
    let expires = start.now + life::of::<F>(start.protocol, start.flags, timeouts());
    // SAFETY: a record of the map that we hold.
    unsafe {
        write_volatile(&raw mut (*record).expires, expires);
        // All but head and expiry.
        let ours = &raw const start.flow.epoch;
        copy(ours.cast::<Rest<F>>(), (&raw mut (*record).epoch).cast());
        write_volatile(&raw mut (*record).head, head.pack());
    }
    true
}

/// The flow stands: others may take its slot when its time has come.
#[inline(always)]
fn settle<F: Family>(held: Held) {
    let place = FlowPlace::new(held.slot, 0, held.generation());
    if let Some(record) = slot::record::<F>(held.slot) {
        let found = flow::Found::<F> {
            record,
            place,
            head: Head::default(),
        };
        found.change(|head| Head {
            flags: head.flags & !FLOW_BUSY,
            ..head
        });
    }
}

use crate::machine::verdict::{Verdict, dropped};
