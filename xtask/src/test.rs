//! `cargo xtask test [LAYER..]`: all tests, layer by layer, with a count of each.

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail};

use crate::{count::Count, kernels, say};

mod cargo;
mod layers;
mod prepare;

use layers::Layer;

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

/// What a layer's tests came to, and how long they took.
type Outcome = (Count, Duration);

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let layers = layers::choose(&args.layers)?;
    if layers.iter().any(|layer| *layer != Layer::Unit) && !nix::unistd::geteuid().is_root() {
        bail!(
            anyhow!("tests on the real kernel need root")
                .context("hint: sudo -E cargo xtask test, or only: test unit")
        );
    }
    prepare::all(&layers)?;
    let counts = all(&layers, args)?;
    say::data("");
    for (layer, (count, time)) in layers.iter().zip(&counts) {
        say::data(format!(
            "{:14} {count}  in {}",
            format!("{}:", layer.name()),
            say::span(*time)
        ));
    }
    let total: Count = counts.iter().map(|(count, _)| *count).sum();
    if !args.long {
        say::line(format!(
            "not run: what only the long form has (--long, or --filter {})",
            layers::LONG_ONLY.join(", --filter ")
        ));
    }
    // The plain closing line that tools read.
    say::data(format!("{} passed, {} failed", total.passed, total.failed));
    Ok(if total.failed == 0 && total.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the layers one after the other; beside them those that share nothing with the others and mostly wait.
fn all(layers: &[Layer], args: &Args) -> Result<Vec<Outcome>> {
    let run = |apart: bool| -> Result<Vec<(usize, Outcome)>> {
        let layers = layers.iter().enumerate();
        let chosen = layers.filter(|(_, layer)| layer.is_apart() == apart);
        chosen
            .map(|(number, layer)| Ok((number, one(layer, args)?)))
            .collect()
    };
    let mut outcomes = thread::scope(|scope| {
        let apart = scope.spawn(|| run(true));
        let mut outcomes = run(false)?;
        let apart = apart.join();
        outcomes.extend(apart.map_err(|_panic| anyhow!("the layers that run apart panicked"))??);
        Ok::<_, anyhow::Error>(outcomes)
    })?;
    outcomes.sort_by_key(|(number, _)| *number);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

fn one(layer: &Layer, args: &Args) -> Result<Outcome> {
    let filter = args.filter.as_deref();
    say::line(format!("== layer {} ==", layer.name()));
    let started = Instant::now();
    let count = match layer.command(filter, args.long) {
        Some(command) => cargo::run(command, layer)?,
        None => on_kernels(filter),
    };
    Ok((count, started.elapsed()))
}

/// A kernel that cannot be had or does not boot is a failed test, not the end of the run.
fn on_kernels(filter: Option<&str>) -> Count {
    kernels::count(None, filter).unwrap_or_else(|error| {
        say::error(&error);
        Count::FAILURE
    })
}
