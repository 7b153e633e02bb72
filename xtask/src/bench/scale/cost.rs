//! Processor time of a process.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::{time::ClockId, unistd::Pid};

/// Seconds that all threads of a process have run, in the kernel too, and those that have ended: as the scheduler
/// counts them, in nanoseconds. What `/proc` tells of them comes in ticks.
pub(super) fn processor_time(pid: u32) -> Result<f64> {
    let pid = i32::try_from(pid).context("no process id")?;
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid));
    let clock = clock.with_context(|| format!("find the processor clock of process {pid}"))?;
    let spent = clock.now();
    let spent = spent.with_context(|| format!("read the processor clock of process {pid}"))?;
    Ok(Duration::from(spent).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::processor_time;

    #[test]
    fn time_only_grows_also_where_a_thread_has_ended() {
        let pid = std::process::id();
        let before = processor_time(pid).unwrap();
        let work = move || {
            let mut sum = 0_u64;
            while processor_time(pid).unwrap() < before + 0.01 {
                sum = std::hint::black_box(sum + 1);
            }
        };
        std::thread::spawn(work).join().unwrap();
        assert!(processor_time(pid).unwrap() >= before + 0.01);
    }

    #[test]
    fn who_is_not_there_has_no_clock() {
        assert!(processor_time(u32::MAX).is_err());
    }
}
