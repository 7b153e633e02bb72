//! `cargo xtask image`: Weir's image as a file that containerd, kind and Docker import.

use std::process::ExitCode;

use anyhow::Result;

use crate::{arch::Arch, say};

pub(crate) mod archive;
pub(crate) mod e2e;
mod layer;
mod root;
pub(crate) mod weir;

/// Write Weir's image to target/weir-image.tar (a docker-archive); prints its path.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cargo profile: `lab` is quick to link, `release` is what ships.
    #[arg(long, default_value = "release")]
    profile: String,
    /// What the image is to run on; this machine's architecture if it is not named.
    #[arg(long, value_name = "ARCH", default_value = Arch::HOST.name())]
    target: Arch,
    /// Name and tag of the image.
    #[arg(long, default_value = weir::NAME)]
    name: String,
    /// Also the images of the cluster and of upstream's tests, for this machine.
    #[arg(long)]
    e2e: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    say::data(
        weir::write_for(args.target, &args.profile, &args.name)?
            .display()
            .to_string(),
    );
    if args.e2e {
        say::data(e2e::archive()?.display().to_string());
    }
    Ok(ExitCode::SUCCESS)
}
