//! Runs `cargo test`, passes its output on, and adds up what it says.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::{count::Count, run, say};

/// What a job said of itself.
pub(super) struct Told {
    pub(super) count: Count,
    /// Lines about what failed, as they were printed.
    pub(super) failures: Vec<String>,
    /// Names of tests that failed; none of a program that did not come to its end.
    pub(super) failed: Vec<String>,
}

/// `test a::b ... FAILED`, whatever it has printed between.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?
        .strip_suffix("FAILED")?
        .split(' ')
        .next()
}

/// `   4: a::b` or `      at ./tests/a.rs:1:2`.
fn is_of_backtrace(line: &str) -> bool {
    let text = line.trim_start();
    let number = text.split_once(": ").map(|(number, _)| number);
    let is_frame = number.is_some_and(|number| number.parse::<u16>().is_ok());
    text.len() < line.len() && (is_frame || text.starts_with("at "))
}

/// Lines of a job's failures that are told again at the end.
const RETOLD: usize = 60;

/// Runs the command of the job of this name; one that fails without a failed test (it did not compile, it crashed) counts as one failure.
pub(super) fn run(mut command: Command, name: &str) -> Result<Told> {
    let shown = run::shown(&command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let (mut count, mut failures, mut of_failures) = (Count::default(), Vec::new(), false);
    let mut failed = Vec::new();
    for line in BufReader::new(child.stdout.take().context("no pipe from cargo")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        let result = Count::parse(&line);
        of_failures = result.is_none() && (of_failures || line == "failures:");
        failed.extend(failed_test(&line).map(str::to_owned));
        let of_backtrace = is_of_backtrace(&line);
        // Between the lines of others.
        let line = format!("{name}| {line}");
        say::data(&line);
        if of_failures && !of_backtrace && failures.len() < RETOLD {
            failures.push(line);
        }
        count = [count, result.unwrap_or_default()].into_iter().sum();
    }
    let status = child.wait()?;
    if !status.success() && count.failed == 0 {
        let failure = format!("{name}| `{shown}` failed ({status})");
        say::line(&failure);
        failures.push(failure);
        count.failed = 1;
    }
    Ok(Told {
        count,
        failures,
        failed,
    })
}

#[cfg(test)]
mod tests {
    use super::{failed_test, is_of_backtrace};

    #[test]
    fn tests_that_failed_are_named() {
        assert_eq!(failed_test("test a::b ... FAILED"), Some("a::b"));
        assert_eq!(failed_test("test a::b ... ok"), None);
        assert_eq!(failed_test("test result: ok. 1 passed"), None);
    }

    #[test]
    fn backtraces_are_known() {
        assert!(is_of_backtrace("   4: world_xdp::main"));
        assert!(is_of_backtrace(
            "             at ./tests/world_xdp.rs:167:5"
        ));
        assert!(!is_of_backtrace("  left: 1") && !is_of_backtrace("at last"));
    }
}
