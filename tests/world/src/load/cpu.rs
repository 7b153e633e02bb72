//! Processor time of the whole machine.

use anyhow::{Context as _, Result};

/// Seconds that all processors have been busy since boot: user, nice, system, irq and softirq of `/proc/stat`
/// (idle, iowait, steal and guest, which user holds already, are left out).
pub(super) fn busy() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map(|word| word.parse().context("number in /proc/stat"))
        .collect::<Result<_>>()?;
    let busy: u64 = [0, 1, 2, 5, 6]
        .iter()
        .filter_map(|column| ticks.get(*column))
        .sum();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .context("clock ticks per second")?
        .context("clock ticks per second")?;
    Ok(busy as f64 / per_second as f64)
}
