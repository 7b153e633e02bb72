//! `cargo xtask bench network`: what a cluster's network costs, beside the kernel's own means in the same wiring.
//!
//! Tunnel, masquerade, limits of bandwidth, encryption. Both beds of a topic stand at once; short runs go round them in turn, so that a
//! machine that slows down slows both.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::ValueEnum as _;

use super::{json_file::JsonFile, programs::Programs};
use crate::say;

mod bandwidth;
mod encryption;
mod guest;
mod masquerade;
mod row;
mod side;
mod table;
mod tunnel;

use row::{Row, Topic};

/// Tunnel, masquerade, limits of bandwidth and encryption, beside the kernel's own and the reference plugin.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these topics.
    #[arg(long, value_delimiter = ',', value_enum)]
    topics: Vec<Topic>,
    /// Fewer and shorter runs.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    json: JsonFile,
    /// Runs of each kind.
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of a run in milliseconds; limits take seconds in any case.
    #[arg(long)]
    span: Option<u64>,
    /// Only throughput, no connections and requests.
    #[arg(long)]
    only_throughput: bool,
    #[command(flatten)]
    programs: Programs,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds: usize,
    span: Duration,
    only_throughput: bool,
}

impl Args {
    fn plan(&self) -> Plan {
        let (rounds, span) = if self.quick { (3, 400) } else { (7, 700) };
        Plan {
            rounds: self.rounds.unwrap_or(rounds),
            span: Duration::from_millis(self.span.unwrap_or(span)),
            only_throughput: self.only_throughput,
        }
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut topics = args.topics.clone();
    if topics.is_empty() {
        topics = Topic::value_variants().to_vec();
    }
    let plan = args.plan();
    let by_guest = topics.contains(&Topic::Encryption) && !encryption::is_possible()?;
    if topics != [Topic::Encryption] || !by_guest {
        args.programs.choose()?;
    }
    let mut rows = Vec::new();
    for topic in &topics {
        rows.extend(measure(*topic, plan, by_guest)?);
    }
    say::data(table::render(&rows));
    args.json.write(&rows)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(topic: Topic, plan: Plan, by_guest: bool) -> Result<Vec<Row>> {
    match topic {
        Topic::Tunnel => side::compare(topic, plan, tunnel::sides),
        Topic::Masquerade => side::compare(topic, plan, masquerade::sides),
        Topic::Bandwidth => bandwidth::measure(plan),
        Topic::Encryption if by_guest => guest::measure(plan),
        Topic::Encryption => side::compare(topic, plan, encryption::sides),
    }
}
