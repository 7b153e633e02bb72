//! `cargo xtask bench north-south`: what XDP does for a packet from outside, beside programs that do next to nothing.
//!
//! Times are the kernel's own, of a million runs each. What it takes to send a packet to a program is in the times of all programs
//! alike, so it is their differences that count.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use serde_json::json;

use super::{
    BASELINE,
    bed::link::Wire,
    child::{self, Child},
    json_file::JsonFile,
    programs::Programs,
};
use crate::{bpf, paths, say, tools};

mod rate;
mod rows;
mod table;

use rows::Measured;

/// What a packet from outside takes: in XDP beside bare programs, and between namespaces, by tc, beside kube-proxy.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fewer rounds of fewer packets.
    #[arg(long)]
    quick: bool,
    /// Rounds, of which the median is taken.
    #[arg(long)]
    rounds: Option<u16>,
    #[command(flatten)]
    json: JsonFile,
    #[command(flatten)]
    programs: Programs,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    tools::toolchain::ensure()?;
    let (rounds, times) = if args.quick {
        (3, 100_000)
    } else {
        (9, 1_000_000)
    };
    let rounds = args.rounds.unwrap_or(rounds);
    let folder = paths::root().join("target/bpf");
    let object = say::step("build the programs to compare with", || {
        bpf::build_of(paths::root(), BASELINE, &folder).map_err(|error| anyhow!(error))
    })?;
    let (program, filler) = say::step("build the bench", || {
        let build = |name| child::build(paths::root(), name, None);
        Ok((build("north_south")?, build("wire")?))
    })?;
    let wire = Wire {
        program: filler,
        object: object.clone(),
    };
    let arguments = [object.into(), times.to_string().into()];
    let mut child = say::step("begin flows", || {
        let mut child = Child::start(&program, &arguments)?;
        child.round::<Measured>()?;
        Ok(child)
    })?;
    let all = say::step("send packets through the programs", || {
        let rounds = (0..rounds).map(|_| child.round::<Measured>());
        rounds.collect::<Result<Vec<_>>>()
    })?;
    child.end()?;
    let rows = rows::fold(&all);
    say::data(table::render(&rows));
    let rates = rate::measure(&args.programs, &wire, args.quick)?;
    say::data(rate::render(&rates));
    args.json
        .write(&[json!({ "programs": rows, "links": rates })])?;
    Ok(ExitCode::SUCCESS)
}
