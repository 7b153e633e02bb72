//! The clock of flows: what `CLOCK_MONOTONIC` says, told from the kernel's count of ticks, which is read without a call.

use aya_ebpf::Global;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use aya_ebpf::macros::btf_map;
use proxy_common::time::seconds;

/// Nanoseconds of a tick (`clock_getres` of a coarse clock); 0 if whoever loads the programs does not know it.
#[unsafe(no_mangle)]
pub static TICK_NANOSECONDS: Global<u32> = Global::new(0);

/// How many ticks the clocks are taken to go alike: without timers of high resolution they drift apart.
const ALIKE: u64 = 1 << 14;

/// What ticks and clock have to do with each other.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Calibration {
    /// What the clock says more than the ticks, in nanoseconds, wrapping; 0 before that was asked.
    ahead: u64,
    /// The tick at which that is asked anew.
    until: u64,
}

/// The calibration. Private to one load of the programs.
#[btf_map]
pub static CALIBRATION: Array<Calibration, 1> = Array::new();

/// Seconds since boot.
#[inline(always)]
pub fn now() -> u32 {
    let tick = u64::from(TICK_NANOSECONDS.load());
    if tick == 0 {
        return seconds(coarse());
    }
    let Some(calibration) = CALIBRATION.get_ptr_mut(0) else {
        return seconds(coarse());
    };
    // SAFETY: a helper without arguments, of which the kernel makes one load
    // (<https://elixir.bootlin.com/linux/v6.1/source/kernel/bpf/verifier.c#L15180>).
    let ticks = unsafe { bpf_jiffies64() };
    // SAFETY: a record of the map. Of two processors that calibrate at once either is right.
    let calibration = unsafe { &mut *calibration };
    // Before the first answer too: another processor's may be seen half, the tick before what it goes with.
    if calibration.until < ticks || calibration.ahead == 0 {
        calibration.ahead = coarse().wrapping_sub(ticks * tick);
        calibration.until = ticks + ALIKE;
    }
    seconds((ticks * tick).wrapping_add(calibration.ahead))
}

#[inline(always)]
fn coarse() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_coarse_ns() }
}
