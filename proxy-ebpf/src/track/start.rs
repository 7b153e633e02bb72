//! Flows that begin.

use core::mem::MaybeUninit;
use core::ptr::write_volatile;

use proxy_common::address::UDP;
use proxy_common::conntrack::{FLOW_BUSY, FLOW_SOURCE_TRANSLATED, Flow, FlowKey, FlowPlace, Head};
use proxy_common::counters::{FLOW_CLASH, FLOWS_FULL};

use super::slot::{self, Held};
use super::{flow, key, life, owner};
use crate::know::node;
use crate::machine::atomic;
use crate::machine::global::global;
use crate::machine::verdict::{CONTINUE, NEXT};
use crate::machine::words::{clear, copy, same};
use crate::maps::{Family, V4, V6};
use crate::packet::description::{Packet, Target};

const NO_EXIST: u64 = 1;
/// How often a flow is tried that finds others in its way which are over.
const TRIES: u32 = 4;
/// How often a slot is looked for, where other processors are faster.
const SEARCHES: u32 = 3;
/// How often a tuple is looked at again while another processor begins or clears away a flow that has it: some tens of
/// microseconds, and it takes less than one.
const LOOKS: u32 = 1024;

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
    /// 1 if a pod of this node begins it, and it leads neither to a pod nor to the node.
    pub outward: u8,
    /// The slot for it, kept from one try to the next.
    pub held: Held,
    /// Where a flow is that has one of its tuples, or the slot that it is to take.
    pub owner: FlowPlace,
}

impl<F: Family> Start<F> {
    /// After `CONTINUE` of [`commit`]: whether the flow is one that another processor began. The slot that was to be its own is
    /// still held.
    #[inline(always)]
    pub const fn joined(&self) -> bool {
        !self.held.is_none()
    }
}

/// An untranslated flow that a packet begins, with nothing known yet of its ends.
#[inline(always)]
pub fn plain<F: Family>(start: &mut Start<F>, packet: &Packet<F>) {
    clear(&mut start.flow.epoch);
    clear(&mut start.flow.endpoint);
    clear(&mut start.flow.cookie);
    clear(&mut start.flow.service);
    clear(&mut start.flow.backend);
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
    start.outward = 0;
    start.held = Held::NONE;
    start.owner = FlowPlace::new(0, 0, 0);
}

global! {
    /// Begins a flow. `CONTINUE`: it is there, or another processor began the same one just now ([`Start::joined`]), whose
    /// record then says where its packets go: `start.flow` and `start.flags` are that record's, seen from the packet's side.
    /// `FLOW_CLASH`: another flow has one of its tuples. `FLOWS_FULL`: there is no room. [`abandon`] must follow, once no
    /// other tuple is tried.
    pub fn commit(start: Start) = insert
}

#[inline(always)]
fn insert<F: Family>(start: &mut Start<F>) -> Verdict {
    if is_tunnels(start) {
        return dropped(FLOW_CLASH);
    }
    for _ in 0..SEARCHES {
        if start.held.is_none() && search(start) == CONTINUE {
            start.held = take_over(start);
        }
    }
    if start.held.is_none() {
        return dropped(FLOWS_FULL);
    }
    for _ in 0..TRIES {
        let verdict = claim(start);
        if verdict != TAKEN_FORTH && verdict != TAKEN_BACK {
            return verdict;
        }
        let direction = u32::from(verdict == TAKEN_BACK);
        match meet(start, direction) {
            LIVE => return join(start, direction),
            OVER => clear_away(start),
            _ => {}
        }
    }
    dropped(FLOW_CLASH)
}

/// Whether the answers would come to the port of the node's tunnel.
#[inline(always)]
fn is_tunnels<F: Family>(start: &Start<F>) -> bool {
    let port = start.flow.target[0].source_port;
    start.flags & FLOW_SOURCE_TRANSLATED != 0
        && start.protocol == UDP
        && port != 0
        && port == node::tunnel_port()
}

/// Gives back the slot of a flow that did not come to be.
#[inline(always)]
pub fn abandon<F: Family>(start: &mut Start<F>) {
    if !start.held.is_none() {
        slot::release::<F>(start.held);
        start.held = Held::NONE;
    }
}

/// Another flow has the key of direction 0.
const TAKEN_FORTH: Verdict = CONTINUE + 1;
/// Another flow has the key of direction 1.
const TAKEN_BACK: Verdict = CONTINUE + 2;
/// The flow that has a key is over.
const OVER: Verdict = CONTINUE + 3;
/// It lives.
const LIVE: Verdict = CONTINUE + 4;

global! {
    /// Looks for a slot for the flow: `CONTINUE`, and `start.owner` is what was there, or `NEXT` if all are in use.
    fn search(start: Start) = look_for_slot
}

#[inline(always)]
fn look_for_slot<F: Family>(start: &mut Start<F>) -> Verdict {
    match slot::search::<F>(start.now) {
        Some(place) => {
            start.owner = place;
            CONTINUE
        }
        None => NEXT,
    }
}

/// Takes the slot of `start.owner`, unless somebody else does.
#[inline(always)]
fn take_over<F: Family>(start: &Start<F>) -> Held {
    let (slot, generation) = (start.owner.slot(), start.owner.generation);
    Held::of(slot, slot::hold::<F>(slot, generation))
}

global! {
    /// Writes the record, and puts both keys where none stand; or none, and says which of them is taken.
    fn claim(start: Start) = try_once
}

#[inline(always)]
fn try_once<F: Family>(start: &mut Start<F>) -> Verdict {
    let held = start.held;
    if !write(start, held) {
        return dropped(FLOWS_FULL);
    }
    // In one order, whoever begins: of two ends that begin with each other at once, one is first, and nobody waits for
    // somebody who waits for him.
    let early = u32::from(!is_before(start));
    let mut taken = early;
    if put(start, held, early) {
        if put(start, held, 1 - early) {
            settle::<F>(held);
            start.held = Held::NONE;
            return CONTINUE;
        }
        withdraw(start, held, early);
        taken = 1 - early;
    }
    TAKEN_FORTH + taken.cast_signed()
}

/// What packets of the other direction of the flow to begin are turned into.
#[inline(always)]
const fn other_target<F: Family>(start: &Start<F>, direction: u32) -> &Target<F> {
    let [first, second] = &start.flow.target;
    if direction == 0 { second } else { first }
}

/// Does something with the key of a direction of the flow to begin.
#[inline(always)]
fn with_key<F: Family, R>(
    start: &Start<F>,
    direction: u32,
    act: impl FnOnce(&FlowKey<F::Address>) -> R,
) -> R {
    let mut key = MaybeUninit::uninit();
    // SAFETY: ours; all of it is written.
    let key = unsafe {
        key::write(
            other_target(start, direction),
            start.protocol,
            key.as_mut_ptr(),
        );
        key.assume_init_ref()
    };
    act(key)
}

/// Puts the key of a direction where none stands.
#[inline(never)]
fn put<F: Family>(start: &Start<F>, held: Held, direction: u32) -> bool {
    let place = FlowPlace::new(held.slot, direction, held.generation());
    with_key(start, direction, |key| {
        F::flow_index().insert(key, place, NO_EXIST).is_ok()
    })
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
    with_key(start, direction, |key| slot::remove::<F>(key, place));
}

global! {
    /// Looks at the flow that has the key of a direction, whose place is `start.owner` then: `LIVE`, `OVER`, or `NEXT` if it is
    /// gone.
    fn meet(start: Start; direction) = look
}

#[inline(always)]
fn look<F: Family>(start: &mut Start<F>, direction: u32) -> Verdict {
    let mut room = MaybeUninit::uninit();
    let other = other_target(start, direction);
    let owner = owner::find::<F>(&mut room, other, start.protocol, start.now, LOOKS);
    start.owner = owner.place;
    match owner.state {
        owner::NOBODY => NEXT,
        owner::OVER => OVER,
        _ => LIVE,
    }
}

/// Clears away the flow of `start.owner`, unless somebody else does.
#[inline(always)]
fn clear_away<F: Family>(start: &Start<F>) {
    let cleared = take_over(start);
    if !cleared.is_none() {
        slot::release::<F>(cleared);
    }
}

global! {
    /// A live flow has the key of a direction. `CONTINUE`: it is the same one, begun by another processor or by the other end,
    /// and is in `start` now. `FLOW_CLASH`: it is another one.
    fn join(start: Start; direction) = compare
}

#[inline(always)]
fn compare<F: Family>(start: &mut Start<F>, direction: u32) -> Verdict {
    let place = start.owner;
    let Some(record) = slot::record::<F>(place.slot()) else {
        return dropped(FLOW_CLASH);
    };
    let turned = place.direction() != direction;
    // SAFETY: a record of the map; checked against its generation after it was read.
    let (is_ours, word) = unsafe {
        let theirs = (&raw const (*record).target).cast::<Target<F>>();
        let [forth, back] = &start.flow.target;
        let (first, second) = (&*theirs, &*theirs.add(1));
        // Begun by the other end at the same time: this packet is an answer.
        let is_ours = if turned {
            same(first, back) && same(second, forth)
        } else {
            same(second, back)
        };
        (is_ours, atomic::read(&raw mut (*record).head))
    };
    if !is_ours || !is_at(word, place) {
        return dropped(FLOW_CLASH);
    }
    adopt(start, record, turned);
    // SAFETY: as above.
    let word = unsafe { atomic::read(&raw mut (*record).head) };
    if !is_at(word, place) {
        // Somebody had need of the slot at once. Nothing else is tried: what was read may be of two flows.
        return dropped(FLOWS_FULL);
    }
    start.flags = Head::unpack(word).flags;
    CONTINUE
}

/// Whether the head of a slot is that of the flow to which a place leads.
#[inline(always)]
fn is_at(word: u64, place: FlowPlace) -> bool {
    u32::from(Head::unpack(word).generation) == place.generation
}

/// Takes over all that a record says, seen from the side of its receiver if `turned`: of what was drafted nothing holds.
#[inline(always)]
fn adopt<F: Family>(start: &mut Start<F>, record: *mut Flow<F::Address>, turned: bool) {
    // SAFETY: a record of the map; made of words.
    unsafe {
        let known = (&raw const (*record).epoch).cast::<[u32; 7]>();
        copy(known, (&raw mut start.flow.epoch).cast());
        if turned {
            // Targets are the same, for nobody translates it.
            let [first, second] = start.flow.endpoint;
            start.flow.endpoint = [second, first];
        } else {
            let theirs = (&raw const (*record).target).cast::<Target<F>>();
            copy(theirs, &raw mut start.flow.target[0]);
        }
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
    let expires = start.now + life::of::<F>(head);
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
