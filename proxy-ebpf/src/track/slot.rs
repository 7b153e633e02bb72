//! Slot allocation and eviction (garbage collection as it goes): slots for new flows.
//!
//! Each CPU goes round the slots with a cursor of its own. A slot that is free or whose flow has expired is taken; where
//! there is none near, one whose flow is not assured. So nobody needs to collect, a flood takes from itself, and an
//! established connection is never pushed out.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_loop};
use aya_ebpf::macros::btf_map;
use proxy_common::conntrack::{
    FLOW_ASSURED, FLOW_BUSY, FLOW_ENDED, FLOW_GRACE_SECONDS, Flow, FlowKey, FlowPlace, Head, Tuple,
};

use super::{key, life};
use crate::machine::atomic::swap;
use crate::maps::{FLOW_SLOTS, Family, V4, V6};

/// Slots that are looked at. Before that, none is taken from a flow that lives, be it not assured: the table may be all but
/// empty around the few dozen flows that the cursor has come to.
const FAR: u32 = 64;
/// After so many instead, where a look at all of them has found none that is free: a flood need not pay for it each time.
const NEAR: u32 = 8;
/// How many flows begin in this way until a CPU looks further again.
const HURRIED: u32 = 64;
/// Flows that had a packet within so many seconds are left alone if there is another choice: they may yet be answered.
const YOUNG: u32 = 1;

/// The next slot that a CPU looks at, plus one; 0 before the first; zero; and how many flows are still to begin in a hurry.
/// Private to one load of the programs.
#[btf_map]
pub static FLOW_CURSOR: PerCpuArray<[u32; 3], 1> = PerCpuArray::new();

/// A slot that the caller holds: marked busy, its former keys removed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Held {
    /// Its number.
    pub slot: u32,
    /// Its new generation, and a bit above it; 0 if none is held.
    generation: u32,
}

impl Held {
    /// No slot.
    pub const NONE: Self = Self {
        slot: 0,
        generation: 0,
    };

    /// A slot that [`hold`] took, or none.
    #[inline(always)]
    pub const fn of(slot: u32, taken: u32) -> Self {
        Self {
            slot,
            generation: taken,
        }
    }

    /// Whether there is none.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.generation == 0
    }

    /// Its new generation.
    #[inline(always)]
    pub const fn generation(self) -> u16 {
        self.generation as u16
    }
}

/// What a look at a slot says, the better the lower.
const FREE: u32 = 0;
const TAKEABLE: u32 = 1;
const FRESH: u32 = 2;
const KEPT: u32 = 3;

#[inline(always)]
fn use_of<F: Family>(head: Head, expires: u32, now: u32) -> u32 {
    if head.flags & FLOW_BUSY != 0 {
        KEPT
    } else if head.flags & FLOW_ENDED != 0 || expires + FLOW_GRACE_SECONDS < now {
        FREE
    } else if expires < now {
        TAKEABLE
    } else if head.flags & FLOW_ASSURED != 0 && !head.is_closed() {
        KEPT
    } else if expires + YOUNG > now + life::of::<F>(head) {
        FRESH
    } else {
        TAKEABLE
    }
}

/// What a look at a slot says, above the generation of the flow in it.
const RANK_SHIFT: u32 = 16;

#[inline(always)]
fn look_at<F: Family>(slot: u32, now: u32) -> u32 {
    let Some(record) = record::<F>(slot) else {
        return KEPT << RANK_SHIFT;
    };
    // SAFETY: a record of the map; aligned words.
    let (word, expires) = unsafe {
        (
            read_volatile(&raw const (*record).head),
            read_volatile(&raw const (*record).expires),
        )
    };
    let head = Head::unpack(word);
    use_of::<F>(head, expires, now) << RANK_SHIFT | u32::from(head.generation)
}

/// A global function: the verifier looks at it once, and not in every state that a search may be in.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn look_at_slot(slot: u32, now: u32, ipv6: u32) -> u32 {
    if ipv6 == 0 {
        look_at::<V4>(slot, now)
    } else {
        look_at::<V6>(slot, now)
    }
}

/// A search for a slot.
#[repr(C)]
struct Search {
    /// The next slot to look at.
    next: u32,
    /// Seconds since boot.
    now: u32,
    /// After how many one that is not free will do.
    enough: u32,
    /// What was said of the best one so far.
    best: u32,
    /// The best one so far.
    slot: u32,
    /// Zero, which the verifier does not know: it need not look at each round by itself for the sake of its numbers.
    zero: u32,
}

impl Search {
    #[inline(always)]
    const fn rank(&self) -> u32 {
        self.best >> RANK_SHIFT
    }
}

/// Looks at one more slot. 1 ends the search.
extern "C" fn look<F: Family>(looked: u32, search: *mut Search) -> i64 {
    // SAFETY: the caller's own, which the kernel hands on.
    let search = unsafe { &mut *search };
    let slot = search.next;
    let next = if slot + 1 >= FLOW_SLOTS.load() {
        0
    } else {
        slot + 1
    };
    search.next = next | search.zero;
    let seen = look_at_slot(slot, search.now, u32::from(F::IPV6));
    if seen >> RANK_SHIFT < search.rank() {
        search.best = seen;
        search.slot = slot;
    }
    let enough = looked + 1 >= search.enough && search.rank() < KEPT;
    i64::from(enough || search.rank() == FREE)
}

/// Looks for a slot that may be taken, and gives where its flow is or was; none if all that were looked at are in use. `now`
/// in seconds since boot.
#[inline(always)]
pub fn search<F: Family>(now: u32) -> Option<FlowPlace> {
    let cursor = FLOW_CURSOR.get_ptr_mut(0)?;
    let slots = FLOW_SLOTS.load();
    // SAFETY: the map's own memory; each CPU has its own.
    let [mut next, zero, hurried] = unsafe { *cursor };
    if next == 0 {
        // SAFETY: a helper without arguments.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        // Somewhere else on each CPU.
        next = 1 + cpu
            .wrapping_mul(0x9e37_79b1)
            .checked_rem(slots)
            .unwrap_or(0);
    }
    let mut search = Search {
        next: next - 1,
        now,
        enough: zero | if hurried == 0 { FAR } else { NEAR },
        best: KEPT << RANK_SHIFT | zero,
        slot: zero,
        zero,
    };
    // Mostly the first one will do, which costs no call back.
    if look::<F>(0, &raw mut search) == 0 {
        let step: extern "C" fn(u32, *mut Search) -> i64 = look::<F>;
        // SAFETY: the callback has the form that the helper asks for, and gets our search.
        unsafe { bpf_loop(FAR, step as *mut c_void, (&raw mut search).cast(), 0) };
    }
    // SAFETY: as above. Read once more: there is no room for it on the stack.
    let hurried = match unsafe { read_volatile(&raw const (*cursor)[2]) } {
        0 if search.rank() != FREE => HURRIED,
        0 => 0,
        hurried => hurried - 1,
    };
    // SAFETY: as above.
    unsafe { *cursor = [search.next + 1, zero, hurried] };
    let generation = search.best as u16;
    (search.rank() != KEPT).then(|| FlowPlace::new(search.slot, 0, generation))
}

/// The record of a slot.
#[inline(always)]
pub fn record<F: Family>(slot: u32) -> Option<*mut Flow<F::Address>> {
    F::flows()
        .get_ptr_mut(slot)
        .map(|record| (&raw mut *record).cast())
}

/// Takes the slot of a flow of this generation that is over or may be pushed out, and removes its keys: the new generation
/// and a bit above it, or 0 if somebody else was faster.
#[inline(never)]
pub fn hold<F: Family>(slot: u32, generation: u32) -> u32 {
    let generation = generation as u16;
    let Some(record) = record::<F>(slot) else {
        return 0;
    };
    // SAFETY: a record of the map; one aligned word.
    let word = unsafe { read_volatile(&raw const (*record).head) };
    let old = Head::unpack(word);
    let new = Head {
        flags: FLOW_BUSY,
        generation: generation.wrapping_add(1),
        ..Head::default()
    };
    let is_other = old.generation != generation || old.flags & FLOW_BUSY != 0;
    // SAFETY: a record of the map.
    if is_other || !unsafe { swap(&raw mut (*record).head, word, new.pack()) } {
        return 0;
    }
    // SAFETY: a record of the map; one aligned word.
    if unsafe { read_volatile(&raw const (*record).expires) } != 0 {
        let mut direction = 0;
        while direction < 2 {
            forget::<F>(
                record,
                FlowPlace::new(slot, direction, generation),
                old.protocol,
            );
            direction += 1;
        }
    }
    1 << 16 | u32::from(new.generation)
}

/// Gives a held slot back, unused. Its keys have been removed.
#[inline(always)]
pub fn release<F: Family>(held: Held) {
    let Some(record) = record::<F>(held.slot) else {
        return;
    };
    let free = Head {
        generation: held.generation(),
        ..Head::default()
    };
    // SAFETY: a record of the map that the caller holds; aligned words.
    unsafe {
        write_volatile(&raw mut (*record).expires, 0);
        write_volatile(&raw mut (*record).head, free.pack());
    }
}

/// Removes the key of a direction of a former flow, if it still names that. Keys are only ever inserted where none stand,
/// and only who takes the slot removes those that name it: between look and removal it cannot become another's.
#[inline(always)]
fn forget<F: Family>(record: *mut Flow<F::Address>, place: FlowPlace, protocol: u8) {
    let mut key = MaybeUninit::uninit();
    // SAFETY: a record of the map that the caller holds: nobody else writes its targets.
    let key = unsafe {
        let targets = (&raw const (*record).target).cast::<Tuple<F::Address>>();
        let other = targets.add(1 - place.direction() as usize);
        key::write(other, protocol, key.as_mut_ptr());
        key.assume_init_ref()
    };
    remove::<F>(key, place);
}

/// Removes a key if it names this place.
#[inline(always)]
pub fn remove<F: Family>(key: &FlowKey<F::Address>, place: FlowPlace) {
    // SAFETY: eight bytes, read at once.
    let Some(found) = (unsafe { F::flow_index().get(key) }) else {
        return;
    };
    if *found == place {
        // Absent is as good as removed.
        F::flow_index().remove(key).ok();
    }
}
