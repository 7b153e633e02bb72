//! `cargo xtask conformance`: upstream's own end-to-end tests on our cluster.

use std::process::ExitCode;

use anyhow::Result;

use crate::cluster::lab::{Lab, Proxy, Shape};
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
    /// The network to test; kube-proxy is the yardstick.
    #[arg(long, value_enum, default_value = "weir")]
    proxy: Proxy,
    /// Number of nodes, if a cluster has to be brought up.
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// Tests at once: most of them wait rather than compute.
    #[arg(long, default_value_t = 6)]
    procs: u8,
    /// Print the tests that would run, and run none.
    #[arg(long)]
    list: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let plan = ginkgo::Plan {
        focus: args.set.focus(args.focus.as_deref()),
        skip: args.skip.clone().unwrap_or_else(|| args.set.skip()),
        procs: args.procs,
        nodes: args.nodes,
    };
    if args.list {
        plan.list()?.iter().for_each(say::data);
        return Ok(ExitCode::SUCCESS);
    }
    let lab = Lab::open()?;
    cluster::ensure(
        &lab,
        Shape {
            nodes: args.nodes,
            proxy: args.proxy,
        },
    )?;
    let (folder, ended) = plan.run(&lab, args.set.name())?;
    let report = report::read(&folder.join("report.json"))?;
    if args.skip.is_none() {
        args.set
            .exceptions()
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
