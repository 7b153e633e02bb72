//! `cargo xtask bench`: what Weir costs, beside nothing at all and beside kube-proxy.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

mod agent;
mod api;
mod bed;
mod cells;
mod child;
mod cni;
mod east_west;
mod figures;
mod json_file;
mod kube_proxy;
pub(crate) mod load;
mod memory;
mod network;
mod north_south;
mod objects;
mod packet;
mod profile;
mod programs;
mod scale;
mod statistics;
mod sync;
mod table;

/// The object of programs with which those in the kernel are compared.
pub(crate) const BASELINE: &str = "baseline";

/// Measure Weir beside a bare path and beside kube-proxy.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// What to measure.
#[derive(Subcommand)]
enum What {
    Cni(cni::Args),
    EastWest(east_west::Args),
    Network(network::Args),
    NorthSouth(north_south::Args),
    Packet(packet::Args),
    Profile(profile::Args),
    Scale(scale::Args),
    Sync(sync::Args),
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Cni(args) => cni::run(args),
        What::EastWest(args) => east_west::run(args),
        What::Network(args) => network::run(args),
        What::NorthSouth(args) => north_south::run(args),
        What::Packet(args) => packet::run(args),
        What::Profile(args) => profile::run(args),
        What::Scale(args) => scale::run(args),
        What::Sync(args) => sync::run(args),
    }
}
