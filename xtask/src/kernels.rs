//! `cargo xtask kernels`, also a layer of `cargo xtask test`: the tests that need nothing but a kernel, on the
//! kernels that Weir supports.
//!
//! Debian's kernels boot in an emulated machine from a RAM disk that holds the test programs, so a newer or
//! older verifier than this machine's has its say.

use std::{process::ExitCode, thread};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    count::Count,
    say,
    tools::debian::{self, Suite},
};

mod disk;
mod kernel;
mod machine;
mod programs;

use programs::Program;

/// Run the kernel tests on other kernels, in emulated machines.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this series: `6.1`, `6.12`, `newest` or `64-processors`.
    #[arg(long)]
    only: Option<String>,
    /// Only tests whose name contains this.
    #[arg(long)]
    filter: Option<String>,
}

/// A kernel of the matrix.
struct Series {
    /// As people call it.
    name: &'static str,
    /// The suites of Debian that may carry it: the newest one in them counts.
    suites: &'static [Suite],
    /// Processors of the machine.
    processors: u32,
    /// The test programs that it runs.
    programs: &'static [&'static str],
}

/// The oldest kernel that Weir supports, the newest long-term one in a stable Debian, and the newest that Debian has
/// released, whether to its stable users or to those of sid. What this machine runs, the other layers of
/// `cargo xtask test` use. And one with more processors than most machines that run tests have.
const MATRIX: [Series; 4] = [
    Series {
        name: "6.1",
        suites: &[Suite::Bookworm],
        processors: 1,
        programs: &["verifier", "packets", "world_encryption"],
    },
    Series {
        name: "6.12",
        suites: &[Suite::Trixie],
        processors: 1,
        programs: &["verifier", "packets", "world_encryption"],
    },
    Series {
        name: "newest",
        suites: &[Suite::Backports, Suite::Sid],
        processors: 1,
        programs: &["verifier", "packets", "world_encryption"],
    },
    Series {
        name: "64-processors",
        suites: &[Suite::Trixie],
        processors: 64,
        programs: &["processors"],
    },
];

/// Programs of the host that boot a kernel and fill its disk.
const HOST: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("xz", "xz-utils"),
    ("strip", "binutils"),
];

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    prepare()?;
    let count = count(args.only.as_deref(), args.filter.as_deref())?;
    say::data(format!(
        "kernels: {} passed, {} failed",
        count.passed, count.failed
    ));
    Ok(if count.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Installs the emulator and what packs its disk.
pub(crate) fn prepare() -> Result<()> {
    debian::host(&HOST)
}

/// Runs the tests, or those whose name contains `filter`, on every kernel of the matrix or on one series.
pub(crate) fn count(only: Option<&str>, filter: Option<&str>) -> Result<Count> {
    let series: Vec<&Series> = MATRIX
        .iter()
        .filter(|series| only.is_none_or(|only| only == series.name))
        .collect();
    if series.is_empty() {
        let names = MATRIX.map(|series| series.name).join(", ");
        bail!(
            anyhow!("no kernel {} in the matrix", only.unwrap_or_default())
                .context(format!("hint: one of {names}"))
        );
    }
    let programs = programs::build()?;
    // An emulated machine has one processor; so many of them as there are of ours.
    let processors = thread::available_parallelism()?.get();
    let rounds = series.chunks(processors);
    Ok(rounds.map(|round| at_once(round, &programs, filter)).sum())
}

/// Runs the tests on several kernels at a time.
fn at_once(round: &[&Series], programs: &[Program], filter: Option<&str>) -> Count {
    thread::scope(|scope| {
        let machines: Vec<_> = round
            .iter()
            .map(|series| scope.spawn(|| on(series, programs, filter)))
            .collect();
        let counts = machines.into_iter();
        // One that panicked has said so.
        counts
            .map(|machine| machine.join().unwrap_or(Count::FAILURE))
            .sum()
    })
}

/// A kernel that cannot be had or does not boot is a failure; the others still have their say.
fn on(series: &Series, programs: &[Program], filter: Option<&str>) -> Count {
    let name = series.name;
    let of_series = |program: &&Program| series.programs.contains(&program.name.as_str());
    let programs: Vec<&Program> = programs.iter().filter(of_series).collect();
    let count = kernel::Kernel::find(series.suites).and_then(|kernel| {
        let disk = disk::pack(name, &kernel, &programs, filter)?;
        say::step(&format!("tests on kernel {name}: {}", kernel.name), || {
            let machine = machine::Machine {
                series: name,
                kernel: &kernel,
                disk: &disk,
                processors: series.processors,
            };
            machine.run(programs.len())
        })
    });
    count
        .with_context(|| format!("kernel {name}"))
        .unwrap_or_else(|error| {
            say::error(&error);
            Count::FAILURE
        })
}
