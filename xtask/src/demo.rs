//! `cargo xtask demo`: Weir on two nodes made of namespaces, told step by step.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use weir_world::{LeakCheck, use_programs_in};

use crate::{build, say, tools::debian};

mod stage;
mod story;
mod traffic;

use stage::Stage;

/// Show pods, a Service and a policy on this machine, with no cluster; leaves nothing behind.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cargo profile of the programs shown.
    #[arg(long, default_value = "lab")]
    profile: String,
    /// Show programs from this folder and build nothing.
    #[arg(long)]
    programs: Option<std::path::PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the demo makes namespaces and loads programs into the kernel: run it as root");
    }
    debian::host(&[("ip", "iproute2"), ("unshare", "util-linux")])?;
    use_programs_in(match &args.programs {
        Some(folder) => folder
            .canonicalize()
            .context("find the folder of programs")?,
        None => build::folder(&args.profile)?,
    });

    let machine = LeakCheck::new()?;
    {
        let stage = Stage::build()?;
        stage.play().inspect_err(|_| stage.tell_logs())?;
    }
    say::data("\n== The end: all of it is taken down ==");
    let compared = machine.len();
    machine.verify()?;
    say::data(format!(
        "Interfaces, routes, namespaces, mounts, pins and cgroups ({compared} things) are as before."
    ));
    Ok(ExitCode::SUCCESS)
}
