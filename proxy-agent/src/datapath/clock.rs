//! The clock of the maps.

use nix::time::{ClockId, clock_gettime};

/// Seconds since boot, as the programs count them.
pub fn seconds() -> u32 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .ok()
        .and_then(|time| u32::try_from(time.tv_sec()).ok())
        .unwrap_or(0)
}
