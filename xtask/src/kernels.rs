//! `cargo xtask kernels`: the tests that need nothing but a kernel, on the kernels that Weir supports.
//!
//! Debian's kernels boot in an emulated machine from a RAM disk that holds the test programs, so a newer or
//! older verifier than this machine's has its say.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::{
    say,
    tools::debian::{self, Suite},
};

mod disk;
mod kernel;
mod machine;
mod programs;

/// Run the kernel tests on older kernels, in emulated machines.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this series, such as `6.1`.
    #[arg(long)]
    only: Option<String>,
}

/// A kernel of the matrix.
struct Series {
    /// As people call it.
    name: &'static str,
    /// The suite of Debian that carries it.
    suite: Suite,
}

/// The oldest kernel that Weir supports, and the newest long-term one in a stable Debian. What this machine
/// runs is tested by `cargo xtask test`.
const MATRIX: [Series; 2] = [
    Series {
        name: "6.1",
        suite: Suite::Bookworm,
    },
    Series {
        name: "6.12",
        suite: Suite::Trixie,
    },
];

/// What passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let tally = tally(args.only.as_deref())?;
    say::data(format!(
        "kernels: {} passed, {} failed",
        tally.passed, tally.failed
    ));
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the tests on every kernel of the matrix, or on one series.
pub(crate) fn tally(only: Option<&str>) -> Result<Tally> {
    let series: Vec<&Series> = MATRIX
        .iter()
        .filter(|series| only.is_none_or(|only| only == series.name))
        .collect();
    if series.is_empty() {
        bail!(
            "no kernel {} in the matrix; hint: one of {}",
            only.unwrap_or_default(),
            MATRIX.map(|series| series.name).join(", ")
        );
    }
    debian::host(&[
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox-static"),
        ("xz", "xz-utils"),
        ("strip", "binutils"),
    ])?;
    let programs = programs::build()?;
    let mut total = Tally::default();
    for series in series {
        let tally = on(series, &programs).with_context(|| format!("kernel {}", series.name))?;
        total.passed += tally.passed;
        total.failed += tally.failed;
    }
    Ok(total)
}

fn on(series: &Series, programs: &[programs::Program]) -> Result<Tally> {
    let kernel = kernel::Kernel::find(series.suite)?;
    let disk = disk::pack(series.name, &kernel, programs)?;
    say::step(&format!("tests on kernel {}", series.name), || {
        machine::run(series.name, &kernel, &disk)
    })
}
