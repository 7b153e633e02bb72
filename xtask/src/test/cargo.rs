//! Runs `cargo test`, passes its output on, and adds up what it says.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::{count::Count, run, say};

/// Runs the command of the job of this name; one that fails without a failed test (it did not compile, it crashed) counts as one failure.
pub(super) fn run(mut command: Command, name: &str) -> Result<Count> {
    let shown = run::shown(&command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let mut count = Count::default();
    for line in BufReader::new(child.stdout.take().context("no pipe from cargo")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        // Between the lines of others.
        say::data(format!("{name}| {line}"));
        count = [count, Count::parse(&line).unwrap_or_default()]
            .into_iter()
            .sum();
    }
    let status = child.wait()?;
    if !status.success() && count.failed == 0 {
        say::line(format!("`{shown}` failed ({status})"));
        count.failed = 1;
    }
    Ok(count)
}
