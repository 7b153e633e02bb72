//! What was judged, one line each.

use std::fmt::Display;

use anyhow::Result;

use crate::say;

/// How many were as they should be, and which were not.
#[derive(Debug, Default)]
pub(super) struct Report {
    passed: usize,
    failed: Vec<String>,
}

impl Report {
    /// Prints a verdict, and keeps it.
    pub(super) fn judge(&mut self, what: impl Into<String>, found: Result<impl Display>) {
        let what = what.into();
        match found {
            Ok(detail) => {
                say::data(format!("passed: {what}: {detail}"));
                self.passed += 1;
            }
            Err(error) => {
                say::data(format!("FAILED: {what}: {error:#}"));
                self.failed.push(what);
            }
        }
    }

    /// Whether something was judged, and nothing failed.
    pub(super) fn is_well(&self) -> bool {
        self.passed > 0 && self.failed.is_empty()
    }

    /// Prints the count.
    pub(super) fn print(&self) {
        for what in &self.failed {
            say::line(format!("failed: {what}"));
        }
        say::data(format!(
            "{} passed, {} failed",
            self.passed,
            self.failed.len()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_judged_is_not_well() {
        let mut report = Report::default();
        assert!(!report.is_well());
        report.judge("one", Ok("fine"));
        assert!(report.is_well());
        report.judge("other", Err::<&str, _>(anyhow::anyhow!("bad")));
        assert!(!report.is_well());
    }
}
