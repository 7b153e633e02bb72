//! How many flows began on this CPU of late and are not answered yet. While they are few, as on any day, flows
//! begin in `CONNTRACK` at once, which saves moving each of them there. A flood makes them many: what begins
//! then goes to `NEW_FLOWS`, which evicts.
//!
//! The bound: the entries of `CONNTRACK` that a CPU began in a window and nobody answered are never more than
//! the limit, because an entry is counted when it begins, wherever it stands, and uncounted once at most.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use proxy_common::conntrack::UNANSWERED_WINDOW;

use crate::maps::NODE_CONFIG;

/// What a CPU counts.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Count {
    /// The current window.
    window: u32,
    /// Begun less answered in it; below zero if flows are answered on other CPUs than they begin on.
    flows: i32,
}

/// The count. Private to one load of the
/// programs: one that begins at zero lets a CPU begin its share once more, in the window of an upgrade.
#[btf_map]
pub static UNANSWERED: PerCpuArray<Count, 1> = PerCpuArray::new();

/// Counts an entry that begins. True if it may stand in `CONNTRACK`.
#[inline(always)]
pub fn begun(now: u32) -> bool {
    let limit = NODE_CONFIG.get(0).map_or(0, |config| config.unanswered);
    let Some(count) = UNANSWERED.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: the map's own memory; each CPU has its own.
    let count = unsafe { &mut *count };
    let window = now / UNANSWERED_WINDOW;
    if count.window != window {
        count.window = window;
        count.flows = 0;
    }
    count.flows = count.flows.saturating_add(1);
    count.flows <= limit.cast_signed()
}

/// Uncounts an entry that is answered.
#[inline(always)]
pub fn answered() {
    if let Some(count) = UNANSWERED.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe { (*count).flows -= 1 };
    }
}
