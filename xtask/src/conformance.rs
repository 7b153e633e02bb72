//! `cargo xtask conformance`: upstream's own end-to-end tests on our cluster.

use std::process::ExitCode;

use anyhow::Result;

use crate::cluster::lab::{Lab, MAX_NODES};
use crate::cluster::shape::Shape;
use crate::{cluster, say};

mod ginkgo;
mod report;
mod sets;

use sets::Set;

/// Run upstream's end-to-end tests on a cluster with Weir; exit code 1 if one fails.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which tests.
    #[arg(value_enum)]
    set: Set,
    /// Only tests of the set whose name matches this expression (Go's syntax).
    #[arg(long)]
    focus: Option<String>,
    /// Leave out tests that match this, instead of the set's own exceptions.
    #[arg(long)]
    skip: Option<String>,
    #[command(flatten)]
    shape: Shape,
    /// Number of nodes; a cluster of another is taken away first. By default the cluster that is up, else one of six: three
    /// zones of two nodes, with which no test skips itself.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_NODES)))]
    nodes: Option<u8>,
    /// Tests at once: most of them wait rather than compute.
    #[arg(long, default_value_t = 6)]
    procs: u8,
    /// Print the tests that would run, and run none.
    #[arg(long)]
    list: bool,
}

/// Nodes with which no test skips itself.
const NODES: u8 = 6;

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let lab = Lab::open()?;
    let shape = shape(args, lab.shape()?);
    let plan = ginkgo::Plan {
        focus: args.set.focus(args.focus.as_deref()),
        skip: args
            .skip
            .clone()
            .unwrap_or_else(|| args.set.skip(shape.families)),
        procs: args.procs,
        nodes: shape.nodes,
    };
    if args.list {
        plan.list()?.iter().for_each(say::data);
        return Ok(ExitCode::SUCCESS);
    }
    cluster::ensure(&lab, shape)?;
    let (folder, ended) = plan.run(&lab, args.set.name())?;
    let report = report::read(&folder.join("report.json"))?;
    if args.skip.is_none() {
        args.set
            .exceptions(shape.families)
            .iter()
            .for_each(|(what, why)| say::line(format!("left out: {what}: {why}")));
    }
    report.print();
    say::line(format!("junit, report and logs: {}", folder.display()));
    if report.succeeded() && ended.success() {
        return Ok(ExitCode::SUCCESS);
    }
    // What failed is listed above; the rest is said here.
    if report.nothing_ran() {
        say::line("hint: nothing was selected; `--list` shows what a focus selects");
    } else if !report.failed() {
        say::line(format!("ginkgo ended with {ended}"));
    }
    Ok(ExitCode::FAILURE)
}

/// The cluster to test: the one that is up if it will do.
fn shape(args: &Args, up: Option<Shape>) -> Shape {
    let of = |nodes| Shape {
        nodes,
        ..args.shape
    };
    let up = up.filter(|up| *up == of(up.nodes));
    of(args.nodes.or(up.map(|up| up.nodes)).unwrap_or(NODES))
}
