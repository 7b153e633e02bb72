//! Who has a tuple.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::read_volatile;

use aya_ebpf::helpers::bpf_loop;
use proxy_common::conntrack::{FLOW_BUSY, FLOW_ENDED, FlowKey, FlowPlace, Head, Tuple};

use super::{key, slot};
use crate::maps::Family;

/// Nobody.
pub(super) const NOBODY: u32 = 0;
/// A flow that another processor is beginning or clearing away.
const UNSETTLED: u32 = 1;
/// A flow that is over.
pub(super) const OVER: u32 = 2;
/// A live flow.
pub(super) const LIVE: u32 = 3;

/// A look-up that is repeated, and what it found.
#[repr(C)]
pub(super) struct Search<F: Family> {
    /// The tuple.
    pub(super) key: FlowKey<F::Address>,
    /// Seconds since boot.
    now: u32,
    /// Who has it: [`NOBODY`] and so on.
    pub(super) state: u32,
    /// Where the flow is.
    pub(super) place: FlowPlace,
}

/// Who has the key of a direction, from what the other one is turned into, once no other processor is at work on it, but
/// after so many looks at the latest: whoever takes so long has it. The search is made in `room`. `now` in seconds since
/// boot.
#[inline(always)]
pub(super) fn find<'a, F: Family>(
    room: &'a mut MaybeUninit<Search<F>>,
    other: &Tuple<F::Address>,
    protocol: u8,
    now: u32,
    looks: u32,
) -> &'a Search<F> {
    let search = room.as_mut_ptr();
    let step: extern "C" fn(u32, *mut Search<F>) -> i64 = look::<F>;
    // SAFETY: all fields are written; the callback has the form that the helper asks for, and gets our search.
    unsafe {
        key::write(other, protocol, &raw mut (*search).key);
        (*search).now = now;
        (*search).state = UNSETTLED;
        (*search).place = FlowPlace::new(0, 0, 0);
        bpf_loop(looks, step as *mut c_void, search.cast(), 0);
        room.assume_init_ref()
    }
}

/// One look. 1 ends the search.
extern "C" fn look<F: Family>(_: u32, search: *mut Search<F>) -> i64 {
    // SAFETY: the caller's own, which the kernel hands on.
    let search = unsafe { &mut *search };
    search.state = state(search);
    i64::from(search.state != UNSETTLED)
}

#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack"
)]
fn state<F: Family>(search: &mut Search<F>) -> u32 {
    // SAFETY: eight bytes, read at once.
    let Some(place) = (unsafe { F::flow_index().get(&search.key) }).copied() else {
        return NOBODY;
    };
    search.place = place;
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
    if head.flags & FLOW_BUSY != 0 {
        return UNSETTLED;
    }
    if u32::from(head.generation) != place.generation {
        // Nobody is at work, and it is still there: left behind.
        slot::remove::<F>(&search.key, place);
        return UNSETTLED;
    }
    if head.flags & FLOW_ENDED != 0 || expires < search.now || head.is_closed() {
        OVER
    } else {
        LIVE
    }
}
