//! Memory of a process.

use std::fs;

use anyhow::{Context as _, Result};

/// Resident bytes of a process that no other shares.
pub(super) fn private_bytes(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let kilobytes: f64 = text
        .lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1))
        .filter_map(|number| number.parse::<f64>().ok())
        .sum();
    Ok(kilobytes * 1024.0)
}
