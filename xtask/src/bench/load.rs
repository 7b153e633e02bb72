//! Client and server of a bench: this program again, inside a pod, under a hidden verb.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{ExitCode, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;
use weir_world::{
    Place, Process,
    load::{self, Kind, Report, Request},
};

use crate::say;

/// Threads of each kind of load; with fewer, a processor would wait for the other.
pub(crate) const ALL: [(Kind, usize); 3] =
    [(Kind::Connect, 4), (Kind::Request, 8), (Kind::Bulk, 1)];

/// Make or answer load: what `bench` runs inside pods.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    side: Side,
}

#[derive(Subcommand)]
enum Side {
    /// Answer at an address until killed.
    Serve { address: SocketAddr },
    /// Make a load, given as JSON; print what came of it as JSON.
    Run { request: String },
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.side {
        Side::Serve { address } => load::serve(*address)?,
        Side::Run { request } => {
            let request: Request = serde_json::from_str(request).context("read the request")?;
            say::data(serde_json::to_string(&load::run(&request)?)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts a server in `place`; it listens when this returns.
pub(crate) fn server(place: &Place, address: SocketAddr) -> Result<Process> {
    let mut command = place.command(std::env::current_exe()?)?;
    command
        .args(["load", "serve", &address.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut process = Process::start(command)?;
    let out = process.child().stdout.take().context("no stdout")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    ensure!(line == "listening\n", "the server did not start: {line:?}");
    Ok(process)
}

/// Makes a load from `place`.
pub(crate) fn client(place: &Place, request: &Request) -> Result<Report> {
    let own = std::env::current_exe()?;
    let own = own.to_str().context("path of this program")?;
    let out = place.run(&[own, "load", "run", &serde_json::to_string(request)?])?;
    serde_json::from_str(&out).with_context(|| format!("read a report: {out}"))
}
