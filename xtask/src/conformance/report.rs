//! Reads ginkgo's JSON report, and says what passed, failed and was skipped.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::say;

/// What came of a run.
#[derive(Debug, Default)]
pub(super) struct Report {
    passed: Vec<String>,
    /// Name and first line of the failure.
    failed: Vec<(String, String)>,
    /// Reason, and the tests that gave it.
    skipped: BTreeMap<String, Vec<String>>,
}

/// ginkgo's `types.Report`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Suite {
    #[serde(default)]
    spec_reports: Vec<Spec>,
}

/// ginkgo's `types.SpecReport`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    leaf_node_text: String,
    state: String,
    failure: Option<Failure>,
}

/// ginkgo's `types.Failure`: of a skipped test, the reason.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    #[serde(default)]
    message: String,
}

impl Spec {
    fn name(&self) -> String {
        let containers = self.container_hierarchy_texts.iter().flatten();
        let words: Vec<&str> = containers
            .map(String::as_str)
            .chain([self.leaf_node_text.as_str()])
            .collect();
        // Setting up and tearing down are no tests, but may fail too.
        if self.leaf_node_type == "It" {
            words.join(" ")
        } else {
            format!("[{}]", self.leaf_node_type)
        }
    }

    /// The first line that says something.
    fn reason(&self) -> String {
        let text = self
            .failure
            .as_ref()
            .map_or("", |failure| failure.message.as_str());
        text.lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or("")
            .to_owned()
    }
}

/// Reads a report.
pub(super) fn read(path: &Path) -> Result<Report> {
    let text = fs::read(path)
        .with_context(|| format!("ginkgo left no report at {}", path.display()))
        .context("hint: the end of ginkgo.log beside it tells why")?;
    let suites: Vec<Suite> =
        serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(sort(
        suites.into_iter().flat_map(|suite| suite.spec_reports),
    ))
}

fn sort(specs: impl Iterator<Item = Spec>) -> Report {
    let mut report = Report::default();
    for spec in specs {
        let test = spec.leaf_node_type == "It";
        match spec.state.as_str() {
            "passed" if test => report.passed.push(spec.name()),
            "passed" => {}
            // Without a reason: not selected at all.
            "skipped" | "pending" if spec.reason().is_empty() => {}
            "skipped" | "pending" => report
                .skipped
                .entry(spec.reason())
                .or_default()
                .push(spec.name()),
            _ => report.failed.push((spec.name(), spec.reason())),
        }
    }
    report
}

impl Report {
    /// Whether tests ran, and none failed.
    pub(super) fn succeeded(&self) -> bool {
        !self.failed() && !self.nothing_ran()
    }

    /// Whether any failed.
    pub(super) fn failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Whether none even began.
    pub(super) fn nothing_ran(&self) -> bool {
        self.passed.is_empty() && !self.failed()
    }

    /// Names of the tests of a dry run, in which everything selected passes.
    pub(super) fn selected(mut self) -> Vec<String> {
        self.passed.sort();
        self.passed
    }

    /// Prints it: reasons first, the count last.
    pub(super) fn print(&self) {
        for (reason, names) in &self.skipped {
            for name in names {
                say::data(format!("skipped: {name}: {reason}"));
            }
        }
        for (name, reason) in &self.failed {
            say::data(format!("FAILED: {name}: {reason}"));
        }
        let skipped: usize = self.skipped.values().map(Vec::len).sum();
        say::data(format!(
            "{} passed, {} failed, {skipped} skipped",
            self.passed.len(),
            self.failed.len()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"[{"SpecReports": [
        {"LeafNodeType": "It", "LeafNodeText": "works", "ContainerHierarchyTexts": ["[sig-network] A"], "State": "passed"},
        {"LeafNodeType": "It", "LeafNodeText": "fails", "ContainerHierarchyTexts": null, "State": "failed",
         "Failure": {"Message": "\n timed out\nmore"}},
        {"LeafNodeType": "It", "LeafNodeText": "lacks", "ContainerHierarchyTexts": [], "State": "skipped",
         "Failure": {"Message": "no cloud"}},
        {"LeafNodeType": "It", "LeafNodeText": "other", "ContainerHierarchyTexts": [], "State": "skipped"},
        {"LeafNodeType": "ReportAfterSuite", "LeafNodeText": "", "ContainerHierarchyTexts": null, "State": "passed"}
    ]}]"#;

    #[test]
    fn states_are_told_apart() -> Result<()> {
        let suites: Vec<Suite> = serde_json::from_str(REPORT)?;
        let report = sort(suites.into_iter().flat_map(|suite| suite.spec_reports));
        assert_eq!(report.passed, ["[sig-network] A works"]);
        assert_eq!(
            report.failed,
            [("fails".to_owned(), "timed out".to_owned())]
        );
        assert_eq!(report.skipped.keys().collect::<Vec<_>>(), ["no cloud"]);
        assert!(report.failed() && !report.succeeded() && !report.nothing_ran());
        Ok(())
    }

    #[test]
    fn nothing_selected_is_no_success() {
        let report = sort(std::iter::empty());
        assert!(report.nothing_ran() && !report.failed() && !report.succeeded());
    }
}
