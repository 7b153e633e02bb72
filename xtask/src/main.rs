//! Builds, tests and demonstrates Weir: one verb per module, `cargo xtask help` lists them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod arch;
mod bench;
mod bpf;
mod build;
mod cache;
mod cluster;
mod conformance;
mod count;
mod demo;
mod docs;
mod image;
mod kernels;
mod lint;
mod manifests;
mod paths;
mod release;
mod run;
mod say;
mod setup;
mod test;
mod told;
mod tools;

/// Builds, tests and demonstrates Weir.
#[derive(Parser)]
#[command(name = "cargo xtask", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Subcommand)]
enum Verb {
    Bench(bench::Args),
    Build(build::Args),
    Cluster(cluster::Args),
    Conformance(conformance::Args),
    Demo(demo::Args),
    Docs(docs::Args),
    Image(image::Args),
    Kernels(kernels::Args),
    Lint(lint::Args),
    #[command(hide = true)]
    Load(bench::load::Args),
    Manifests(manifests::Args),
    Release(release::Args),
    Setup(setup::Args),
    Test(test::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Bench(args) => bench::run(&args),
        Verb::Build(args) => build::run(&args),
        Verb::Cluster(args) => cluster::run(&args),
        Verb::Conformance(args) => conformance::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Docs(args) => docs::run(&args),
        Verb::Image(args) => image::run(&args),
        Verb::Kernels(args) => kernels::run(&args),
        Verb::Lint(args) => lint::run(&args),
        Verb::Load(args) => bench::load::run(&args),
        Verb::Manifests(args) => manifests::run(&args),
        Verb::Release(args) => release::run(&args),
        Verb::Setup(args) => setup::run(&args),
        Verb::Test(args) => test::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            say::error(&error);
            ExitCode::FAILURE
        }
    }
}
