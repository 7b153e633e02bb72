//! The emulated machine: boots, runs the tests, says how they ended.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use super::{disk::REPORT, kernel::Kernel, matrix::Series};
use crate::{arch::Arch, count::Count, run, say, told::Told};

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
    /// Boots the kernel with the disk and hears what the tests say; all `programs` of the disk must have ended.
    pub(super) fn run(&self, programs: usize) -> Result<Told> {
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
        for line in figures(&console) {
            say::line(format!("kernel {name}: {line}"));
        }
        let programs = by_program(name, &console);
        for (program, told) in &programs {
            say::line(format!("kernel {name}: {program} {}", told.count));
            told.failures.iter().for_each(say::line);
        }
        Ok(all(programs))
    }

    /// Boots once; returns what the console said.
    pub(super) fn boot(&self, log: &Path) -> Result<String> {
        // Other tests run beside it, which know how long things may take; but a machine that stands still has tests that wait in vain.
        let mut machine = Command::new("nice");
        let emulator = self.arch.emulator();
        machine
            .args(["-n", "5", "timeout"])
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

/// Whether there is nothing to be learnt from another boot.
fn is_final(console: &str, programs: usize) -> bool {
    let has_failed = console.contains("... FAILED");
    ended(console) == programs || has_failed || all(by_program("", console)).count.failed > 0
}

/// What tests said for people.
fn figures(console: &str) -> impl Iterator<Item = &str> {
    let lines = console.lines().map(str::trim);
    lines.filter(|line| FIGURES.iter().any(|begin| line.starts_with(begin)))
}

/// What each test program said of itself, as people see it of the kernel of this name; one that ended without a summary
/// counts as a failure.
fn by_program<'a>(name: &str, console: &'a str) -> Vec<(&'a str, Told)> {
    let mut programs = Vec::new();
    let (mut told, mut has_summary) = (Told::default(), false);
    for line in console.lines().map(str::trim_end) {
        let Some((_, ended)) = line.split_once(REPORT) else {
            told.hear(line, &format!("kernel {name}: {line}"));
            has_summary |= Count::parse(line).is_some();
            continue;
        };
        if !std::mem::take(&mut has_summary) {
            let crashed = format!("kernel {name}: no summary of{ended}");
            told.extend([Told::failure(crashed)]);
        }
        let program = ended.split_whitespace().next().unwrap_or_default();
        programs.push((program, std::mem::take(&mut told)));
    }
    programs
}

/// What all of them said.
fn all(programs: Vec<(&str, Told)>) -> Told {
    let mut all = Told::default();
    all.extend(programs.into_iter().map(|(_, told)| told));
    all
}

#[cfg(test)]
mod tests {
    use super::{all, by_program, is_final};
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
                       test result: ok. 0 passed; 0 failed; 0 ignored\r\nweir-tests-ended cni 0\r\n\
                       failures:\r\n    a::b\r\n    c\r\n\r\n\
                       test result: FAILED. 3 passed; 2 failed; 0 ignored\r\nweir-tests-ended sockets 101\r\n\
                       Segmentation fault\r\nweir-tests-ended verifier 139\r\n";
        let told = all(by_program("6.1", console));
        let count = Count {
            passed: 15,
            failed: 3,
        };
        assert_eq!(told.count, count);
        assert_eq!(told.failed, ["a::b", "c"]);
        let last = told.failures.last().unwrap();
        assert_eq!(last, "kernel 6.1: no summary of verifier 139");
        assert!(!told.names_all());
    }
}
