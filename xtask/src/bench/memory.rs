//! Memory of a process.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result};

/// For how long it must not grow or shrink to be called steady.
const CALM: usize = 5;
/// How long it may take until then.
const PATIENCE: usize = 60;
/// A change that does not count.
const NOISE: f64 = 64.0 * 1024.0;

/// Resident bytes of a process once they have been the same for some seconds. Only what it has written: pages
/// of its own file are resident as far as its code has run, whatever the number of Services.
pub(crate) fn steady(pid: u32) -> Result<f64> {
    let mut last = resident(pid)?;
    let mut calm = 0;
    for _ in 0..PATIENCE {
        thread::sleep(Duration::from_secs(1));
        let now = resident(pid)?;
        calm = if (now - last).abs() <= NOISE {
            calm + 1
        } else {
            0
        };
        last = now;
        if calm == CALM {
            break;
        }
    }
    Ok(last)
}

/// The most bytes that were ever resident, its code included.
pub(crate) fn peak(pid: u32) -> Result<f64> {
    field(pid, "status", "VmHWM:")
}

fn resident(pid: u32) -> Result<f64> {
    field(pid, "status", "RssAnon:")
}

fn field(pid: u32, file: &str, name: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = value.and_then(|value| value.split_whitespace().next());
    let kilobytes: f64 = kilobytes
        .with_context(|| format!("{path} has no {name}"))?
        .parse()
        .with_context(|| format!("{name} of {path}"))?;
    Ok(kilobytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::{peak, resident};

    #[test]
    fn resident_memory_is_at_most_its_peak() {
        let pid = std::process::id();
        let (now, most) = (resident(pid).unwrap(), peak(pid).unwrap());
        assert!(now > 0.0 && now <= most, "{now} {most}");
    }
}
