//! `cargo xtask test [LAYER..]`: all tests, layer by layer, with a count of each.

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};

use crate::{count::Count, say};

mod cargo;
mod lanes;
mod layers;
mod prepare;

use lanes::Outcome;
use layers::{Job, Layer};

/// Run all tests, or those of some layers; installs what they need, as root.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Layers: unit, the first words of the files in tests/tests (packets, world, controlplane, ...), kernels.
    layers: Vec<String>,
    /// Only tests whose name contains this.
    #[arg(long)]
    filter: Option<String>,
    /// What has a short and a long form (random sequences, floods, races) runs in the long one; so do
    /// those that build an older version from the history (`schema_1`) or kill agents while they exchange maps.
    #[arg(long)]
    long: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let layers = layers::choose(&args.layers)?;
    if layers.iter().any(|layer| *layer != Layer::Unit) && !nix::unistd::geteuid().is_root() {
        bail!(
            anyhow!("tests on the real kernel need root")
                .context("hint: sudo -E cargo xtask test, or only: test unit")
        );
    }
    prepare::all(&layers, layers::architectures(args.long))?;
    let jobs: Vec<Job> = layers.iter().flat_map(Layer::jobs).collect();
    let outcomes = lanes::run(&jobs, args.filter.as_deref(), args.long)?;
    let total = summary(&layers, &outcomes);
    if !args.long {
        say::line(format!(
            "not run: what only the long form has (--long, or --filter {}; for another architecture's kernels also `cargo xtask kernels --arch`)",
            layers::LONG_ONLY.join(", --filter ")
        ));
    }
    // Once more where who reads only the end finds it.
    for outcome in &outcomes {
        retell(outcome);
    }
    // The plain closing line that tools read.
    say::data(format!("{} passed, {} failed", total.passed, total.failed));
    Ok(if total.failed == 0 && total.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn retell(outcome: &Outcome) {
    let Outcome {
        job, told, again, ..
    } = outcome;
    let again = again.iter().flat_map(|told| &told.failures);
    told.failures.iter().chain(again).for_each(say::data);
    if outcome.is_unsteady() {
        let (name, failed) = (job.name(), told.failed.join(", "));
        say::data(format!(
            "unsteady: {name}: failed beside others, passed alone: {failed}"
        ));
    }
}

/// Prints what each layer came to, and how long its jobs took together; the sum of all.
fn summary(layers: &[Layer], outcomes: &[Outcome]) -> Count {
    say::data("");
    for layer in layers {
        let jobs = layer.jobs();
        let of = || {
            outcomes
                .iter()
                .filter(|outcome| jobs.contains(&outcome.job))
        };
        let count: Count = of().map(Outcome::count).sum();
        let time = of().map(|outcome| outcome.time).sum();
        say::data(format!(
            "{:14} {count}  in {}",
            format!("{}:", layer.name()),
            say::span(time)
        ));
    }
    outcomes.iter().map(Outcome::count).sum()
}
