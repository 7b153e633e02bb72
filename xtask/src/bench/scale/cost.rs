//! Processor time of a process.

use std::fs;

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};

/// Seconds that all threads of a process have run, in the kernel too.
pub(super) fn processor_time(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let ticks = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
    // Behind the name, which may hold blanks: utime and stime are fields 14 and 15 of all (proc_pid_stat(5)).
    let rest = text.rsplit(')').next().unwrap_or_default();
    let times = rest.split_whitespace().skip(11).take(2);
    let spent: f64 = times.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    #[expect(clippy::cast_precision_loss, reason = "100 or so")]
    Ok(spent / ticks as f64)
}

#[cfg(test)]
mod tests {
    use super::processor_time;

    #[test]
    fn time_only_grows() {
        let pid = std::process::id();
        let before = processor_time(pid).unwrap();
        let mut sum = 0_u64;
        while processor_time(pid).unwrap() < before + 0.05 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(processor_time(pid).unwrap() >= before + 0.05);
    }
}
