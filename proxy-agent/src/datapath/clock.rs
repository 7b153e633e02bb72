//! The clock of the maps.

use std::sync::LazyLock;

use aya::EbpfLoader;
use nix::time::{ClockId, clock_getres, clock_gettime};

/// The global of the object that says how many nanoseconds a tick has.
const TICK: &str = "TICK_NANOSECONDS";

/// As the coarse clocks say it: they go forward with each tick
/// (<https://elixir.bootlin.com/linux/v6.1/source/kernel/time/posix-timers.c#L194>). 0 if they do not say.
static NANOSECONDS: LazyLock<u32> = LazyLock::new(|| {
    clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)
        .ok()
        .filter(|tick| tick.tv_sec() == 0)
        .and_then(|tick| u32::try_from(tick.tv_nsec()).ok())
        .unwrap_or(0)
});

/// Says to programs that are to be loaded how long a tick is; those of `must` know that they need it.
pub fn set(loader: &mut EbpfLoader<'_>, must: bool) {
    loader.override_global(TICK, &*NANOSECONDS, must);
}

/// Seconds since boot, as the programs count them.
pub fn seconds() -> u32 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .ok()
        .and_then(|time| u32::try_from(time.tv_sec()).ok())
        .unwrap_or(0)
}
