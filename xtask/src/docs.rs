//! `cargo xtask docs`: the references that are made of the code, man pages and completions, and the book.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{paths, run, say, tools};

/// Make the references in docs/reference from the code, man pages and completions (target/docs), and the book (target/book).
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing in docs; fail if a reference is not what would be made.
    #[arg(long)]
    check: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut reference = reference()?;
    if args.check && !reference.arg("--check").status()?.success() {
        say::line("hint: cargo xtask docs");
        return Ok(ExitCode::FAILURE);
    }
    if !args.check {
        run::loud(&mut reference)?;
    }
    let mut book = Command::new(tools::mdbook::ensure()?);
    book.arg("build").arg(paths::root());
    say::step("make the book", || run::loud(&mut book))?;
    Ok(ExitCode::SUCCESS)
}

/// The program that makes references, which lies beside this one.
fn reference() -> Result<Command> {
    // The whole workspace, as for the tests.
    let words = ["build", "--locked", "--quiet", "--workspace", "--bins"];
    run::loud(tools::toolchain::cargo()?.args(words))?;
    Ok(Command::new(
        paths::root().join("target/debug/weir-reference"),
    ))
}
