//! `cargo xtask lint`: formatting, clippy with warnings as errors, licences and sources of dependencies.

use std::process::{Command, ExitCode};

use anyhow::{Result, anyhow};

use crate::{bpf, paths, run, say, tools};

/// Check formatting and lints; warnings are errors.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
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
    let mut kernel = bpf::cargo(paths::root(), "clippy").map_err(|error| anyhow!(error))?;
    run::loud(kernel.args(["--", "-D", "warnings"]))?;
    say::line("licences and sources of dependencies ...");
    let mut deny = Command::new(tools::deny::ensure()?);
    // Advisories change without any change of ours: `cargo deny check advisories` is for a schedule.
    deny.current_dir(paths::root())
        .args(["check", "licenses", "bans", "sources"]);
    run::loud(&mut deny)?;
    Ok(ExitCode::SUCCESS)
}

fn cargo(what: &str, args: &[&str]) -> Result<()> {
    say::line(format!("{what} ..."));
    run::loud(run::cargo().args(args))
}
