//! Runs `cargo test`, passes its output on, and adds up what it says.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::{run, say};

/// How many tests did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: usize,
    /// Ignored ones too: a test that did not run has shown nothing.
    pub(super) failed: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:4} passed, {} failed", self.passed, self.failed)
    }
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            passed: a.passed + b.passed,
            failed: a.failed + b.failed,
        })
    }
}

/// Runs the command; one that fails without a failed test (it did not compile, it crashed) counts as one failure.
pub(super) fn run(mut command: Command) -> Result<Count> {
    let shown = run::shown(&command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let mut count = Count::default();
    for line in BufReader::new(child.stdout.take().context("no pipe from cargo")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        say::data(&line);
        count = [count, parse(&line).unwrap_or_default()].into_iter().sum();
    }
    let status = child.wait()?;
    if !status.success() && count.failed == 0 {
        say::line(format!("`{shown}` failed ({status})"));
        count.failed = 1;
    }
    Ok(count)
}

/// Reads `test result: ok. 2 passed; 0 failed; 0 ignored; …`.
fn parse(line: &str) -> Option<Count> {
    let rest = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let number = |word: &str| -> Option<usize> {
        let field = rest.split("; ").find(|field| field.ends_with(word))?;
        field.split(' ').next()?.parse().ok()
    };
    Some(Count {
        passed: number(" passed")?,
        failed: number(" failed")? + number(" ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_read() {
        let line = "test result: FAILED. 7 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.02s";
        assert_eq!(
            parse(line),
            Some(Count {
                passed: 7,
                failed: 3
            })
        );
        assert_eq!(parse("test a::b ... ok"), None);
    }
}
