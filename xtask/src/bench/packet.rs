//! `cargo xtask bench packet`: what packets cost in the programs of the per-packet path.
//!
//! Times are the kernel's own, of each program on each packet, less that of a packet that no program looks at, which
//! is the price of measuring; what the stack and the devices do is left out.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};

use super::{
    child::{self, Child},
    json_file::JsonFile,
};
use crate::{paths, say, tools};

mod other;
mod rows;
mod table;

use other::Other;
use rows::Measured;

/// Nanoseconds a packet, by way and by kind of packet.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fewer rounds of fewer packets.
    #[arg(long)]
    quick: bool,
    /// Rounds, of whose medians the median is taken.
    #[arg(long)]
    rounds: Option<u16>,
    #[command(flatten)]
    json: JsonFile,
    /// Measure this eBPF object instead of the one of this checkout.
    #[arg(long)]
    object: Option<PathBuf>,
    /// Measure this commit too, round by round in turn, and print the ratios (ours / theirs).
    #[arg(long, value_name = "REV")]
    against: Option<String>,
}

/// Connections and repeats of a round.
type Amount = [u16; 2];

/// Its name.
const BENCH: &str = "packet";

fn arguments(amount: Amount, object: Option<&Path>) -> Vec<OsString> {
    let numbers = amount.map(|number| number.to_string().into());
    let object = object.map(Into::into);
    numbers.into_iter().chain(object).collect()
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    tools::toolchain::ensure()?;
    let (rounds, amount) = if args.quick {
        (5, [50, 300])
    } else {
        (21, [100, 1000])
    };
    let rounds = args.rounds.unwrap_or(rounds);
    let object = args.object.as_deref().map(Path::canonicalize);
    let object = object.transpose().context("find the object")?;
    let ours = || {
        let program = say::step("build the bench", || {
            child::build(paths::root(), BENCH, None)
        })?;
        Child::start(&program, &arguments(amount, object.as_deref()))
    };
    let rounds = match &args.against {
        Some(rev) => {
            let other = Other::check_out(rev)?;
            let program = say::step(&format!("build the bench of {rev}"), || other.build())?;
            alternate(
                rounds,
                ours()?,
                Child::start(&program, &arguments(amount, None))?,
            )?
        }
        None => alone(rounds, ours()?)?,
    };
    let rows = rows::fold(&rounds)?;
    say::data(table::render(&rows));
    args.json.write(&rows)?;
    Ok(ExitCode::SUCCESS)
}

/// What a round measured, of us and of the other commit.
type Round = (Vec<Measured>, Option<Vec<Measured>>);

fn alone(rounds: u16, mut ours: Child) -> Result<Vec<Round>> {
    ours.round::<Measured>().context("warm up")?;
    let done = say::step("send packets through the programs", || {
        (0..rounds).map(|_| Ok((ours.round()?, None))).collect()
    })?;
    ours.end()?;
    Ok(done)
}

/// Whoever is second now is first in the next round.
fn alternate(rounds: u16, mut ours: Child, mut theirs: Child) -> Result<Vec<Round>> {
    let of_theirs = "of the other commit";
    ours.round::<Measured>().context("warm up")?;
    theirs.round::<Measured>().context(of_theirs)?;
    let mut one = |number: u16| -> Result<Round> {
        if number.is_multiple_of(2) {
            let first = ours.round()?;
            return Ok((first, Some(theirs.round().context(of_theirs)?)));
        }
        let first = theirs.round().context(of_theirs)?;
        Ok((ours.round()?, Some(first)))
    };
    let done = say::step("send packets through the programs", || {
        (0..rounds).map(&mut one).collect()
    })?;
    ours.end()?;
    theirs.end().context(of_theirs)?;
    Ok(done)
}
