//! `cargo xtask lint`: formatting, clippy with warnings as errors, licences and advisories.

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
    let deny = run::output(Command::new("cargo").args(["deny", "--version"])).is_ok();
    if deny {
        cargo("licences and advisories", &["deny", "check"])?;
    } else {
        say::line("licences and advisories: not checked, cargo-deny is not installed");
    }
    Ok(ExitCode::SUCCESS)
}

fn cargo(what: &str, args: &[&str]) -> Result<()> {
    say::line(format!("{what} ..."));
    run::loud(Command::new("cargo").current_dir(paths::root()).args(args))
}
