//! `cargo xtask setup`: puts the tools in place ahead of time. Every other verb does it for itself.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

use crate::{say, tools};

/// Install tools into the cache folder ($WEIR_CACHE, else ~/.cache/weir).
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to prepare; the toolchain if nothing is named.
    what: Vec<What>,
}

/// A group of tools.
#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// What compiles the BPF object: bpf-linker and library sources.
    Toolchain,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let what: &[What] = if args.what.is_empty() {
        &[What::Toolchain]
    } else {
        &args.what
    };
    for what in what {
        match what {
            What::Toolchain => tools::toolchain::ensure()?,
        }
    }
    say::line(format!(
        "all there, in {}",
        crate::paths::cache()?.display()
    ));
    Ok(ExitCode::SUCCESS)
}
