//! Time that no hand and no time server can turn: since boot, suspension included. What it stamps lies in a
//! folder that does not outlive the boot.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since boot.
pub fn since_boot() -> Duration {
    // Linux has had this clock since 2.6.39: there is nothing that could refuse.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Whole seconds since boot, never 0: that says "never" in what is stamped.
pub fn now() -> u64 {
    since_boot().as_secs().max(1)
}

/// How long ago a stamp was made. One of the future (an older version stamped by the calendar) was made just now.
pub const fn age(now: u64, stamp: u64) -> u64 {
    now.saturating_sub(stamp)
}
