//! `NEW_FLOWS`, and until when it may hold a live flow: mostly it holds none, and looking for what is not there
//! costs as much as finding it. Two CPUs that raise `NEW_FLOWS_END` at once may leave the lower value: the flow's next
//! packet raises it again.

use core::ptr::{read_volatile, write_volatile};

use crate::maps::{Family, NEW_FLOWS_END};

/// The entry of a flow, live or not.
#[inline(always)]
pub fn get<F: Family>(key: &F::FlowKey, now: u32) -> Option<*mut F::Flow> {
    let end = NEW_FLOWS_END.get_ptr(0)?;
    // SAFETY: one aligned load.
    if unsafe { read_volatile(end) } < now {
        return None;
    }
    let entry: *mut F::Flow = F::new_flows().get_ptr_mut(key)?;
    Some(entry)
}

/// Puts a flow there. True if it stands there now.
#[inline(always)]
pub fn insert<F: Family>(key: &F::FlowKey, flow: &F::Flow, flags: u64) -> bool {
    lives_until(F::state(flow).expires);
    F::new_flows().insert(key, flow, flags).is_ok()
}

/// To be called when the life of one of its flows is extended.
#[inline(always)]
pub fn lives_until(expires: u32) {
    let Some(end) = NEW_FLOWS_END.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: aligned words; races: see the module.
    unsafe {
        if read_volatile(end) < expires {
            write_volatile(end, expires);
        }
    }
}
