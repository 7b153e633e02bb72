//! `cargo xtask kernels`, also a layer of `cargo xtask test`: the tests that need nothing but a kernel, on the
//! kernels that Weir supports.
//!
//! Debian's kernels boot in an emulated machine from a RAM disk that holds the test programs, so a newer or
//! older verifier than this machine's has its say.

use std::{
    cmp::Reverse,
    collections::VecDeque,
    iter,
    path::PathBuf,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{arch::Arch, count::Count, paths, say, told::Told, tools::debian};

mod disk;
mod kernel;
mod libraries;
mod machine;
mod matrix;
mod programs;
mod tools;

use disk::Common;
use matrix::{MATRIX, Series};
use programs::Program;

/// Run the kernel tests on other kernels, in emulated machines.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this series: `6.1`, `6.12`, `newest`, `64-processors` or, of arm64, `16k-pages`.
    #[arg(long)]
    only: Option<String>,
    /// Only tests whose name contains this.
    #[arg(long)]
    filter: Option<String>,
    /// The emulated machines' architecture; this machine's if it is not named.
    #[arg(long, default_value = Arch::HOST.name())]
    arch: Arch,
}

/// What to run.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// On machines of this architecture.
    pub(crate) arch: Arch,
    /// Only on this series of the matrix.
    pub(crate) only: Option<&'a str>,
    /// Which tests.
    pub(crate) which: Which<'a>,
    /// All that a kernel may run, or only what no other one says.
    pub(crate) long: bool,
}

/// Which tests to run.
#[derive(Clone, Copy)]
pub(crate) enum Which<'a> {
    /// All of the form that is asked for.
    All,
    /// Those whose name contains this.
    Like(&'a str),
    /// Those with these names.
    Named(&'a [String]),
}

/// What became of the tests on a kernel of the matrix.
pub(crate) struct Ran {
    pub(crate) series: &'static str,
    pub(crate) arch: Arch,
    pub(crate) told: Told,
}

/// Programs of the host that fill a kernel's disk.
const HOST: [(&str, &str); 3] = [
    ("busybox", "busybox-static"),
    ("xz", "xz-utils"),
    ("strip", "binutils"),
];

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    prepare(args.arch)?;
    let ran = tests(Wanted {
        arch: args.arch,
        only: args.only.as_deref(),
        which: args.filter.as_deref().map_or(Which::All, Which::Like),
        long: true,
    })?;
    let count: Count = ran.iter().map(|ran| ran.told.count).sum();
    let failures = ran.iter().flat_map(|ran| &ran.told.failures);
    failures.for_each(say::line);
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

/// Installs an architecture's emulator and what packs its disk.
pub(crate) fn prepare(arch: Arch) -> Result<()> {
    let emulator = arch.emulator();
    debian::host(&[(emulator.program, emulator.package)])?;
    debian::host(&HOST)
}

/// Runs the tests on every kernel of the matrix that is wanted.
pub(crate) fn tests(wanted: Wanted<'_>) -> Result<Vec<Ran>> {
    let only = wanted.only;
    let chosen = MATRIX
        .iter()
        .filter(|series| only.is_none_or(|only| only == series.name));
    let (series, left_out): (Vec<_>, Vec<_>) =
        chosen.partition(|series| series.on.contains(&wanted.arch));
    for Series { name, .. } in left_out {
        say::line(format!(
            "kernel {name}: left out, Debian has none for {}",
            wanted.arch.name()
        ));
    }
    if series.is_empty() {
        let names = MATRIX.map(|series| series.name).join(", ");
        bail!(
            anyhow!(
                "no kernel {} in the matrix of {}",
                only.unwrap_or_default(),
                wanted.arch.name()
            )
            .context(format!("hint: one of {names}"))
        );
    }
    let common = Common::gather(wanted.arch)?;
    let programs = programs::build(wanted.arch)?;
    Ok(at_once(series.into(), &programs, &common, wanted))
}

/// Boots a kernel of the matrix with this program, those that it starts and more programs of the host, and runs a script there; what the
/// console said.
pub(crate) fn run_script(series: &str, more: &[&str], script: &str) -> Result<String> {
    let arch = Arch::HOST;
    prepare(arch)?;
    let series = MATRIX
        .iter()
        .find(|known| known.name == series)
        .context("no such kernel in the matrix")?;
    let mut common = Common::gather(arch)?;
    common.add(more)?;
    let own = programs::own()?;
    let folder = folder(arch, &format!("{}-script", series.name));
    let kernel = kernel::Kernel::find(arch, series.kind, series.suites)?;
    let work = disk::Work {
        programs: &[&own],
        script,
        starts_ours: true,
    };
    let disk = disk::pack(&common, &folder, &kernel, &work)?;
    let machine = machine::Machine::of(series, (series.name, arch), &folder, (&kernel, &disk));
    say::step(&format!("run on kernel {}", kernel.name), || {
        machine.boot(&folder.join("console.log"))
    })
}

/// Runs the tests on several kernels at a time: an emulated machine has one processor, and there are so many of them as there are of
/// ours.
fn at_once(
    mut series: VecDeque<&'static Series>,
    programs: &[Program],
    common: &Common,
    wanted: Wanted<'_>,
) -> Vec<Ran> {
    // Who has most to do begins.
    let work = |series: &Series| {
        let runs = |program: &&Program| series.runs(&program.name, wanted.long);
        programs.iter().filter(runs).count()
    };
    series
        .make_contiguous()
        .sort_by_key(|series| Reverse(work(series)));
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let waiting = Mutex::new(series);
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let run = || -> Vec<Ran> {
        let all = iter::from_fn(next);
        all.map(|series| on(series, programs, common, wanted))
            .collect()
    };
    thread::scope(|scope| {
        let machines: Vec<_> = (0..processors).map(|_| scope.spawn(run)).collect();
        let machines = machines.into_iter();
        machines
            .flat_map(|machine| match machine.join() {
                Ok(ran) => ran,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

/// A kernel that cannot be had or does not boot is a failure; the others still have their say.
fn on(series: &'static Series, programs: &[Program], common: &Common, wanted: Wanted<'_>) -> Ran {
    let arch = common.arch;
    let name = format!("{} {}", arch.name(), series.name);
    let of_series = |program: &&Program| series.runs(&program.name, wanted.long);
    let programs: Vec<&Program> = programs.iter().filter(of_series).collect();
    let folder = folder(arch, series.name);
    let told = kernel::Kernel::find(arch, series.kind, series.suites).and_then(|kernel| {
        let work = disk::Work {
            programs: &programs,
            script: &disk::script_of_tests(&programs, wanted.which, wanted.long)?,
            starts_ours: disk::starts_ours(&programs),
        };
        let disk = disk::pack(common, &folder, &kernel, &work)?;
        say::step(&format!("tests on kernel {name}: {}", kernel.name), || {
            let machine = machine::Machine::of(series, (&name, arch), &folder, (&kernel, &disk));
            machine.run(programs.len())
        })
    });
    let told = told.with_context(|| format!("kernel {name}"));
    Ran {
        series: series.name,
        arch,
        told: told.unwrap_or_else(|error| {
            say::error(&error);
            Told::failure(format!("{error:#}"))
        }),
    }
}

/// Where the disk and the console's log of a series are.
fn folder(arch: Arch, series: &str) -> PathBuf {
    let all = paths::root().join("target/kernels");
    all.join(arch.name()).join(series)
}
