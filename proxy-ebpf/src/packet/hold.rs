//! Fragment queue: later fragments that come before the first of their datagram: without its ports nobody knows where they go. They are held
//! until it comes, and the interface receives them once more then; what is held too long gives way to others, and is of no
//! datagram any more.

use core::ffi::c_void;
use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray};
use aya_ebpf::helpers::bpf_loop;
use aya_ebpf::macros::btf_map;
use proxy_common::counters::REWRITE_FAILED;
use proxy_common::fragments::{period, period_before};

use super::description::Packet;
use super::parse;
use crate::machine::atomic::{add, set, swap};
use crate::machine::frame::Frame as _;
use crate::machine::global::global;
use crate::machine::skb::{Skb, Skb as Buffer};
use crate::machine::verdict::{CONTINUE, NEXT};
use crate::machine::words::{copy, opaque, to_stack};
use crate::maps::Family;

/// How many fragments are held, one for each bit of a word.
const SLOTS: usize = 64;
/// Bytes of a frame: of 9000 bytes, with headers of its link.
const ROOM: usize = 9216;

/// A datagram: source and destination as IPv6, identification, scope, protocol with the period in which the first of its held
/// fragments came. The next datagram with its identification may be another one (`proxy_common::fragments`).
type Datagram = [u32; 11];

/// `Slot::state`: nothing is held.
const FREE: u64 = 0;
/// A program has it.
const BUSY: u64 = 1;
/// A fragment that is held, and has been let through as well.
const COPY: u64 = 2;
/// A fragment that is held.
const HELD: u64 = 3;

/// A fragment that is held.
#[repr(C)]
pub struct Slot {
    state: u64,
    length: u32,
    of: Datagram,
    bytes: [u8; ROOM],
}

/// Frames. Private to one load of the programs.
#[btf_map]
pub static HELD_FRAGMENTS: Array<Slot, SLOTS> = Array::new();

/// Which slots have fragments of a datagram: no more than there are slots. Private to one load of the programs.
#[btf_map]
pub static HELD_DATAGRAMS: HashMap<Datagram, u64, { 2 * SLOTS }> = HashMap::new();

/// How many fragments have been held. Private to one load of the programs.
#[btf_map]
pub static HELD_COUNT: Array<u64, 1> = Array::new();

/// The first fragment, while others pass through its buffer. Private to one load of the programs.
#[btf_map]
pub static FIRST_FRAGMENT: PerCpuArray<[u8; ROOM], 1> = PerCpuArray::new();

/// Where the period stands.
const PERIOD: usize = 10;

/// The datagram of a fragment. If others of it are held since the period before, it is of that.
#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack"
)]
fn datagram<F: Family>(packet: &Packet<F>) -> Datagram {
    let [s0, s1, s2, s3] = F::as_ipv6(packet.source);
    let [d0, d1, d2, d3] = F::as_ipv6(packet.destination);
    let (number, scope) = (packet.identification, packet.scope);
    let now = u32::from(packet.carrier) | period(packet.now);
    let before = period_before(now);
    let mut of = [s0, s1, s2, s3, d0, d1, d2, d3, number, scope, before];
    if HELD_DATAGRAMS.get_ptr(&of).is_none() {
        of[PERIOD] = now;
    }
    of
}

#[inline(always)]
fn slot(number: u64) -> Option<*mut Slot> {
    HELD_FRAGMENTS
        .get_ptr_mut(number as u32 % SLOTS as u32)
        .map(|slot| &raw mut *slot)
}

/// Changes the state of a slot. True if it was `old`.
#[inline(always)]
fn change(slot: *mut Slot, old: u64, new: u64) -> bool {
    // SAFETY: a value of the map; eight aligned bytes.
    unsafe { swap(&raw mut (*slot).state, old, new) }
}

global! {
    /// Holds a later fragment, `copied` if the packet itself goes on (1). `CONTINUE`: it is held. `NEXT`: it is not, because the
    /// first one came in this moment, whose ports the packet has now, or because it is too large.
    pub fn hold(skb, packet: Packet; copied) = keep
}

#[inline(always)]
fn keep<F: Family>(skb: Buffer, packet: &mut Packet<F>, copied: u32) -> Verdict {
    let Some(count) = HELD_COUNT.get_ptr_mut(0) else {
        return NEXT;
    };
    // SAFETY: a value of the map; eight aligned bytes.
    let number = unsafe { add(count, 1) } % SLOTS as u64;
    let Some(slot) = slot(number) else {
        return NEXT;
    };
    // SAFETY: a value of the map.
    let old = unsafe { read_volatile(&raw const (*slot).state) };
    if old == BUSY || !change(slot, old, BUSY) {
        return NEXT;
    }
    if old != FREE {
        forget(slot);
    }
    let of = datagram(packet);
    if !fill(skb, slot, &of) {
        change(slot, BUSY, FREE);
        return NEXT;
    }
    let state = if copied == 0 { HELD } else { COPY };
    change(slot, BUSY, state);
    note(&of, 1 << number);
    // The first one may have come before that was noted: then nobody looks for this one.
    if parse::complete(packet) && change(slot, state, FREE) {
        NEXT
    } else {
        CONTINUE
    }
}

/// Forgets the datagram whose fragment gives way: it will not be whole any more.
#[inline(always)]
fn forget(slot: *mut Slot) {
    // SAFETY: a value of the map that nobody else writes.
    let of = unsafe { to_stack(&(*slot).of) };
    // Absent is as good as removed.
    HELD_DATAGRAMS.remove(of).ok();
}

/// Fills a slot that we have.
#[inline(always)]
fn fill(skb: Skb, slot: *mut Slot, of: &Datagram) -> bool {
    let Some(length) = within_room(skb.length()) else {
        return false;
    };
    // SAFETY: a value of the map that nobody else writes.
    unsafe {
        copy(of, &raw mut (*slot).of);
        write_volatile(&raw mut (*slot).length, length);
        skb.copy_out((&raw mut (*slot).bytes).cast(), length)
    }
}

/// The length of a frame, if there is room for it; in such a way that the verifier of Linux 6.1 sees both bounds: one
/// comparison gives both, and what is handed on is what was compared.
#[inline(always)]
fn within_room(length: u32) -> Option<u32> {
    let less = opaque(u64::from(length)).wrapping_sub(1);
    if less >= ROOM as u64 {
        return None;
    }
    Some((opaque(less) + 1) as u32)
}

/// Notes that slots have fragments of a datagram.
#[inline(always)]
fn note(of: &Datagram, slots: u64) {
    const NO_EXIST: u64 = 1;
    if HELD_DATAGRAMS.insert(of, slots, NO_EXIST).is_ok() {
        return;
    }
    if let Some(known) = HELD_DATAGRAMS.get_ptr_mut(of) {
        // SAFETY: a value of the map; eight aligned bytes.
        unsafe { set(known, slots) };
    }
}

global! {
    /// Lets go of what is held of the datagram of a first fragment: the interface receives it after this packet. Without `copies`
    /// (0), what has been let through already is forgotten. `CONTINUE`: the packet is as it was.
    pub fn release(skb, packet: Packet; copies) = let_go
}

/// What [`next`] has in hand.
#[repr(C)]
struct Release {
    skb: Skb,
    /// Slots that are still to be looked at.
    slots: u64,
    copies: u64,
    of: Datagram,
    /// How many fragments have passed.
    passed: u32,
}

#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack"
)]
fn let_go<F: Family>(skb: Buffer, packet: &mut Packet<F>, copies: u32) -> Verdict {
    let mut release = Release {
        skb,
        slots: 0,
        copies: u64::from(copies),
        of: datagram(packet),
        passed: 0,
    };
    // SAFETY: eight bytes, read at once.
    let Some(slots) = (unsafe { HELD_DATAGRAMS.get(&release.of) }) else {
        return CONTINUE;
    };
    release.slots = *slots;
    HELD_DATAGRAMS.remove(&release.of).ok();
    let Some(first) = FIRST_FRAGMENT.get_ptr_mut(0) else {
        return CONTINUE;
    };
    let first: *mut u8 = (&raw mut *first).cast();
    let Some(length) = within_room(skb.length()) else {
        return CONTINUE;
    };
    // SAFETY: it has that much room.
    if !unsafe { skb.copy_out(first, length) } {
        return CONTINUE;
    }
    let step: extern "C" fn(u32, *mut Release) -> i64 = next;
    // SAFETY: the callback has the form that the helper asks for, and gets our value.
    unsafe {
        bpf_loop(
            SLOTS as u32,
            step as *mut c_void,
            (&raw mut release).cast(),
            0,
        )
    };
    // SAFETY: it has so many bytes.
    if release.passed == 0 || unsafe { skb.become_copy(first, length) } {
        CONTINUE
    } else {
        dropped(REWRITE_FAILED)
    }
}

/// Looks at one slot.
extern "C" fn next(number: u32, release: *mut Release) -> i64 {
    // SAFETY: the caller's own, which the kernel hands on.
    let release = unsafe { &mut *release };
    if release.slots >> number == 0 {
        return 1;
    }
    if release.slots >> number & 1 != 0
        && let Some(slot) = slot(u64::from(number))
    {
        pass(release, slot);
    }
    0
}

/// Word by word, each before the next: all at once they would need more registers than there are.
///
/// # Safety
/// `one` may be read.
#[inline(always)]
unsafe fn is_same(one: *const Datagram, other: &Datagram) -> bool {
    let (one, other): (*const u32, *const u32) = (one.cast(), other.as_ptr());
    let mut word = 0;
    while word < size_of::<Datagram>() / 4 {
        // SAFETY: below the size of both.
        if unsafe { read_volatile(one.add(word)) != read_volatile(other.add(word)) } {
            return false;
        }
        word += 1;
    }
    true
}

#[inline(always)]
fn pass(release: &mut Release, slot: *mut Slot) {
    // SAFETY: a value of the map.
    let state = unsafe { read_volatile(&raw const (*slot).state) };
    if state != HELD && state != COPY || !change(slot, state, BUSY) {
        return;
    }
    // SAFETY: a value of the map, which is ours now.
    let (is_ours, length) = unsafe {
        (
            is_same(&raw const (*slot).of, &release.of),
            read_volatile(&raw const (*slot).length),
        )
    };
    if !is_ours {
        change(slot, BUSY, state);
        return;
    }
    if (state == HELD || release.copies != 0)
        && let Some(length) = within_room(length)
    {
        release.passed += 1;
        // SAFETY: it has so many bytes.
        if unsafe {
            release
                .skb
                .become_copy((&raw const (*slot).bytes).cast(), length)
        } {
            release.skb.receive_copy();
        }
    }
    change(slot, BUSY, FREE);
}

use crate::machine::verdict::{Verdict, dropped};
