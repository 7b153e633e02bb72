//! The emulated machine: boots, runs the tests, says how they ended.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use super::{disk::REPORT, kernel::Kernel, matrix::Series};
use crate::{arch::Arch, count::Count, run, say};

/// The machine is ended after this many seconds, which is no failure by itself: what the console said counts.
const LIMIT: [&str; 2] = ["--preserve-status", "3000"];

/// Begin what tests say for people: see `tests/verifier.rs`, `tests/processors.rs`.
const FIGURES: [&str; 2] = ["stack of ", "flows of "];

/// One thread for all its processors: emulating them side by side misses instructions that newer kernels use.
const MACHINE: [&str; 8] = [
    "-accel",
    "tcg,thread=single",
    "-m",
    "3072",
    "-nographic",
    "-no-reboot",
    "-nic",
    "none",
];

/// What the kernel is told, beside its console. Memory is not cleared before it is given out: the verifier asks for a lot of it.
const COMMAND_LINE: &str = "quiet oops=panic panic=-1 mitigations=off init_on_alloc=0 rdinit=/init";

/// How often a machine is booted that dies before its tests have ended: the emulator itself fails now and then on a
/// host under load. A test that failed stays failed, and a kernel that our programs kill dies at each boot.
const BOOTS: usize = 3;

/// A machine to be booted.
pub(super) struct Machine<'a> {
    /// As people call it.
    pub(super) name: &'a str,
    /// What it is to be.
    pub(super) arch: Arch,
    /// Where the log of its console goes.
    pub(super) folder: &'a Path,
    /// What it boots.
    pub(super) kernel: &'a Kernel,
    /// Its RAM disk.
    pub(super) disk: &'a Path,
    /// Its kind of processor.
    pub(super) processor: &'a str,
    /// How many it has.
    pub(super) processors: u32,
}

impl<'a> Machine<'a> {
    /// One of a series, under a name that people know.
    pub(super) fn of(
        series: &Series,
        (name, arch): (&'a str, Arch),
        folder: &'a Path,
        (kernel, disk): (&'a Kernel, &'a Path),
    ) -> Self {
        Self {
            name,
            arch,
            folder,
            kernel,
            disk,
            processor: series.processor(arch),
            processors: series.processors,
        }
    }
}

impl Machine<'_> {
    /// Boots the kernel with the disk and counts what passed; all `programs` of the disk must have ended.
    pub(super) fn run(&self, programs: usize) -> Result<Count> {
        let name = self.name;
        let log = self.folder.join("console.log");
        let mut console = self.boot(&log)?;
        for again in 2..=BOOTS {
            if is_final(&console, programs) {
                break;
            }
            say::line(format!(
                "kernel {name} died before its tests had ended, boot {again} of {BOOTS}; the console said:\n{}",
                run::tail(&log)?
            ));
            console = self.boot(&log)?;
        }
        let ended = ended(&console);
        if ended != programs {
            bail!(
                "{ended} of {programs} test programs ended; end of {}:\n{}",
                log.display(),
                run::tail(&log)?
            );
        }
        self.tell(&console, &log)?;
        Ok(count(&console))
    }

    /// Says how the tests ended.
    fn tell(&self, console: &str, log: &Path) -> Result<()> {
        let name = self.name;
        for line in figures(console) {
            say::line(format!("kernel {name}: {line}"));
        }
        for (program, count) in by_program(console) {
            say::line(format!("kernel {name}: {program} {count}"));
        }
        if count(console).failed > 0 {
            say::line(run::tail(log)?);
        }
        for line in failures(console) {
            say::line(format!("kernel {name}: {line}"));
        }
        Ok(())
    }

    /// Boots once; returns what the console said.
    pub(super) fn boot(&self, log: &Path) -> Result<String> {
        // Other tests run beside it, which know how long things may take.
        let mut machine = Command::new("nice");
        let emulator = self.arch.emulator();
        machine
            .args(["-n", "10", "timeout"])
            .args(LIMIT)
            .arg(emulator.program)
            .args(emulator.machine)
            .args(["-cpu", self.processor])
            .args(MACHINE)
            .arg("-append")
            .arg(format!("console={} {COMMAND_LINE}", emulator.console))
            .arg("-smp")
            .arg(self.processors.to_string())
            .arg("-kernel")
            .arg(self.kernel.image()?)
            .arg("-initrd")
            .arg(self.disk);
        run::logged(&mut machine, log)?;
        Ok(String::from_utf8_lossy(&std::fs::read(log)?).into_owned())
    }
}

/// How many test programs have ended, well or not.
fn ended(console: &str) -> usize {
    console.lines().filter(|line| line.contains(REPORT)).count()
}

/// The tests that failed, as their lines say.
fn failures(console: &str) -> impl Iterator<Item = &str> {
    let lines = console.lines().map(str::trim);
    lines.filter(|line| line.contains("... FAILED"))
}

/// Whether there is nothing to be learnt from another boot.
fn is_final(console: &str, programs: usize) -> bool {
    ended(console) == programs || failures(console).next().is_some() || count(console).failed > 0
}

/// What tests said for people.
fn figures(console: &str) -> impl Iterator<Item = &str> {
    let lines = console.lines().map(str::trim);
    lines.filter(|line| FIGURES.iter().any(|begin| line.starts_with(begin)))
}

/// Each test program's own summary; one that ended without a summary counts as a failure.
fn by_program(console: &str) -> Vec<(&str, Count)> {
    let mut counts = Vec::new();
    let mut summary = None;
    for line in console.lines().map(str::trim) {
        if let Some((_, ended)) = line.split_once(REPORT) {
            let name = ended.split_whitespace().next().unwrap_or_default();
            counts.push((name, summary.take().unwrap_or(Count::FAILURE)));
        } else if let Some(count) = Count::parse(line) {
            summary = Some(count);
        }
    }
    counts
}

fn count(console: &str) -> Count {
    let counts = by_program(console).into_iter();
    counts.map(|(_, count)| count).sum()
}

#[cfg(test)]
mod tests {
    use super::{count, is_final};
    use crate::count::Count;

    #[test]
    fn a_machine_that_dies_is_booted_again_unless_a_test_failed() {
        let died = "running 2 tests\r\ntest one ... ok\r\nKernel panic - not syncing\r\n";
        assert!(!is_final(died, 1));
        let failed = "running 2 tests\r\ntest one ... FAILED\r\nKernel panic - not syncing\r\n";
        assert!(is_final(failed, 1));
        let crashed = "weir-tests-ended verifier 127\r\nKernel panic - not syncing\r\n";
        assert!(is_final(crashed, 2));
        assert!(is_final("weir-tests-ended verifier 0\r\n", 1));
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
