//! The clock of the maps: whole seconds since boot, so that they fit 32 bits.

/// Seconds since boot from `bpf_ktime_get_coarse_ns` or `CLOCK_MONOTONIC` nanoseconds. Both sides use this,
/// so that entries written by one are judged alike by the other.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "BPF: a call would cost more than the division"
)]
pub const fn seconds(nanoseconds: u64) -> u32 {
    (nanoseconds / 1_000_000_000) as u32
}
