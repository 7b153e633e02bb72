//! The emulated machine: boots, runs the tests, says how they ended.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use super::{disk::REPORT, kernel::Kernel};
use crate::{count::Count, paths, run, say};

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

/// How often a machine is booted that ends before any test began: the emulator itself fails now and then on a
/// host under load. A test that failed stays failed.
const BOOTS: usize = 3;

/// Boots the kernel with the disk and counts what passed; all `programs` of the disk must have ended.
pub(super) fn run(series: &str, kernel: &Kernel, disk: &Path, programs: usize) -> Result<Count> {
    let log = paths::root()
        .join("target/kernels")
        .join(series)
        .join("console.log");
    let mut console = boot(kernel, disk, &log)?;
    for again in 2..=BOOTS {
        if began(&console) {
            break;
        }
        say::line(format!(
            "kernel {series} ended before any test began, boot {again} of {BOOTS}; the console said:\n{}",
            run::tail(&log)?
        ));
        console = boot(kernel, disk, &log)?;
    }
    let ended = console.lines().filter(|line| line.contains(REPORT)).count();
    if ended != programs {
        bail!(
            "{ended} of {programs} test programs ended; end of {}:\n{}",
            log.display(),
            run::tail(&log)?
        );
    }
    let count = count(&console);
    say::line(format!("kernel {series}: {count}"));
    if count.failed > 0 {
        say::line(run::tail(&log)?);
    }
    for line in console.lines().filter(|line| line.contains("... FAILED")) {
        say::line(format!("kernel {series}: {}", line.trim()));
    }
    Ok(count)
}

/// Boots once; returns what the console said.
fn boot(kernel: &Kernel, disk: &Path, log: &Path) -> Result<String> {
    let mut machine = Command::new("timeout");
    machine
        .args([LIMIT, "qemu-system-x86_64"])
        .args(MACHINE)
        .arg("-kernel")
        .arg(kernel.image()?)
        .arg("-initrd")
        .arg(disk);
    run::logged(&mut machine, log)?;
    Ok(String::from_utf8_lossy(&std::fs::read(log)?).into_owned())
}

/// Whether a test program has said how many tests it runs, or has ended.
fn began(console: &str) -> bool {
    console
        .lines()
        .map(str::trim)
        .any(|line| line.contains(REPORT) || line.starts_with("running ") && line.contains(" test"))
}

/// Adds up the test programs' own summaries; one that ended without a summary counts as a failure.
fn count(console: &str) -> Count {
    let mut counts = Vec::new();
    let mut summed = false;
    for line in console.lines().map(str::trim) {
        if let Some(count) = Count::parse(line) {
            counts.push(count);
            summed = true;
        } else if line.contains(REPORT) {
            counts.extend((!summed).then_some(Count::FAILURE));
            summed = false;
        }
    }
    counts.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::{began, count};
    use crate::count::Count;

    #[test]
    fn a_machine_that_dies_before_its_tests_is_told_from_one_whose_tests_die() {
        assert!(!began(
            "traps: init[1] general protection\r\nKernel panic - not syncing\r\n"
        ));
        assert!(began(
            "\r\nrunning 1 test\r\nKernel panic - not syncing\r\n"
        ));
        assert!(began("weir-tests-ended verifier 127\r\n"));
    }

    #[test]
    fn summaries_are_added_and_a_crash_counts() {
        let console = "test result: ok. 12 passed; 0 failed; 0 ignored\r\nweir-tests-ended packets 0\r\n\
                       test result: FAILED. 3 passed; 2 failed; 0 ignored\r\nweir-tests-ended sockets 101\r\n\
                       Segmentation fault\r\nweir-tests-ended verifier 139\r\n";
        assert_eq!(
            count(console),
            Count {
                passed: 15,
                failed: 3
            }
        );
    }
}
