//! All load on one processor.

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// Keeps the calling thread on the last processor that we may use: interrupts mostly go to the first.
pub fn stay_on_one_cpu() -> Result<()> {
    let here = Pid::from_raw(0);
    let allowed = sched_getaffinity(here).context("ask for the CPUs")?;
    let last = (0..CpuSet::count()).rfind(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(last.context("no CPU")?)?;
    sched_setaffinity(here, &one).context("stay on a CPU")
}
