//! Processor time of the whole machine, and of a process.

use anyhow::{Context as _, Result};

/// Seconds that all processors have been busy since boot: user, nice, system, irq and softirq of `/proc/stat`
/// (idle, iowait, steal and guest, which user holds already, are left out).
pub fn busy() -> Result<f64> {
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
    Ok(busy as f64 / per_second()?)
}

/// Seconds that a process with all its threads has been busy, in its own code and in the kernel for it: what others do on a machine does
/// not count, nor what the kernel does for it elsewhere.
pub fn of_process(id: u32) -> Result<f64> {
    let path = format!("/proc/{id}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    // After the name, which may hold anything: state is the first, user and system time the 12th and 13th.
    let (_, rest) = stat.rsplit_once(')').context("no name of a process")?;
    let fields = rest.split_whitespace().skip(11).take(2);
    let ticks: Vec<u64> = fields
        .map(|word| word.parse().with_context(|| format!("number in {path}")))
        .collect::<Result<_>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 / per_second()?)
}

fn per_second() -> Result<f64> {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .context("clock ticks per second")?
        .context("clock ticks per second")?;
    Ok(ticks as f64)
}

#[cfg(test)]
mod tests {
    use super::of_process;

    #[test]
    fn a_process_that_works_is_seen_to() {
        let own = std::process::id();
        let before = of_process(own).unwrap();
        while of_process(own).unwrap() <= before {}
        of_process(u32::MAX).unwrap_err();
    }
}
