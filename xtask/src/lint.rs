//! `cargo xtask lint`: formatting, clippy with warnings as errors, licences and sources of dependencies.

use std::process::{Command, ExitCode};

use anyhow::{Result, anyhow};

use crate::{bench::BASELINE, bpf, paths, run, say, tools};

/// Check formatting and lints; warnings are errors.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only ask for advisories about dependencies; they change without any change of ours, so nothing else asks for them.
    #[arg(long)]
    advisories: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.advisories {
        deny(&["advisories"])?;
        return Ok(ExitCode::SUCCESS);
    }
    tools::toolchain::ensure()?;
    cargo("formatting", &["fmt", "--all", "--", "--check"])?;
    cargo(
        "clippy",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    say::line("clippy on the programs in the kernel ...");
    for name in [bpf::PROGRAMS, BASELINE] {
        let kernel = bpf::cargo(paths::root(), "clippy", name);
        let mut kernel = kernel.map_err(|error| anyhow!(error))?;
        run::loud(kernel.args(["--", "-D", "warnings"]))?;
    }
    say::line("licences and sources of dependencies ...");
    deny(&["licenses", "bans", "sources"])?;
    Ok(ExitCode::SUCCESS)
}

fn deny(what: &[&str]) -> Result<()> {
    let mut deny = Command::new(tools::deny::ensure()?);
    deny.current_dir(paths::root()).arg("check").args(what);
    run::loud(&mut deny)
}

fn cargo(what: &str, args: &[&str]) -> Result<()> {
    say::line(format!("{what} ..."));
    run::loud(run::cargo().args(args))
}
