//! Runs `cargo test`, passes its output on, and adds up what it says.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::{run, say, told::Told};

/// Runs the command of the job of this name; one that fails without a failed test (it did not compile, it crashed) counts as one failure.
pub(super) fn run(mut command: Command, name: &str) -> Result<Told> {
    let shown = run::shown(&command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let mut told = Told::default();
    for line in BufReader::new(child.stdout.take().context("no pipe from cargo")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        // Between the lines of others.
        let shown = format!("{name}| {line}");
        say::data(&shown);
        told.hear(&line, &shown);
    }
    let status = child.wait()?;
    if !status.success() && told.count.failed == 0 {
        let failure = format!("{name}| `{shown}` failed ({status})");
        say::line(&failure);
        told.extend([Told::failure(failure)]);
    }
    Ok(told)
}
