//! The emulated machine: boots, runs the tests, says how they ended.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use super::{Tally, disk::REPORT, kernel::Kernel};
use crate::{paths, run, say};

/// The machine is ended after this many seconds.
const LIMIT: &str = "600";

/// One processor: emulating two misses instructions that newer kernels use.
const MACHINE: [&str; 14] = [
    "-accel",
    "tcg,thread=single",
    "-cpu",
    "max",
    "-smp",
    "1",
    "-m",
    "2048",
    "-nographic",
    "-no-reboot",
    "-nic",
    "none",
    "-append",
    "console=ttyS0 quiet panic=-1 mitigations=off rdinit=/init",
];

/// Boots the kernel with the disk and counts what passed.
pub(super) fn run(series: &str, kernel: &Kernel, disk: &Path) -> Result<Tally> {
    let log = paths::root()
        .join("target/kernels")
        .join(series)
        .join("console.log");
    let mut machine = Command::new("timeout");
    machine
        .args([LIMIT, "qemu-system-x86_64"])
        .args(MACHINE)
        .arg("-kernel")
        .arg(kernel.image()?)
        .arg("-initrd")
        .arg(disk);
    run::logged(&mut machine, &log)?;
    let console = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    let tally = count(&console);
    if tally.failed > 0 || tally == Tally::default() {
        say::line(run::tail(&log)?);
    }
    if tally == Tally::default() {
        bail!("no test ran; the console is in {}", log.display());
    }
    for line in console.lines().filter(|line| line.contains("... FAILED")) {
        say::line(format!("kernel {series}: {}", line.trim()));
    }
    Ok(tally)
}

/// Adds up the test programs' own summaries; one that ended without a summary counts as a failure.
fn count(console: &str) -> Tally {
    let mut tally = Tally::default();
    let mut summed = false;
    for line in console.lines().map(str::trim) {
        if let Some(summary) = line.split("test result: ").nth(1) {
            tally.passed += number_before(summary, " passed");
            tally.failed += number_before(summary, " failed");
            summed = true;
        } else if line.contains(REPORT) {
            tally.failed += u32::from(!summed);
            summed = false;
        }
    }
    tally
}

fn number_before(text: &str, word: &str) -> u32 {
    text.split(word)
        .next()
        .and_then(|before| before.rsplit(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Tally, count};

    #[test]
    fn summaries_are_added_and_a_crash_counts() {
        let console = "test result: ok. 12 passed; 0 failed; 0 ignored\r\nweir-tests-ended packets 0\r\n\
                       test result: FAILED. 3 passed; 2 failed; 0 ignored\r\nweir-tests-ended sockets 101\r\n\
                       Segmentation fault\r\nweir-tests-ended verifier 139\r\n";
        assert_eq!(
            count(console),
            Tally {
                passed: 15,
                failed: 3
            }
        );
    }
}
