//! What came of the tests, as other programs read it.

use std::{fs, path::Path};

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::run::Done;
use crate::ctl::{CtlError, Exit};

/// Writes a file of `JUnit` XML.
pub(super) fn write(path: &Path, done: &[Done]) -> Result<(), CtlError> {
    let failed = |cause: String| {
        CtlError::new(
            Exit::Failed,
            format!("write {}: {cause}", path.display()),
            "name a file in a folder that can be written",
        )
    };
    let text = xml(done).map_err(|error| failed(error.to_string()))?;
    fs::write(path, text).map_err(|error| failed(error.to_string()))
}

fn xml(done: &[Done]) -> Result<String, SerializeError> {
    let mut suite = TestSuite::new("connectivity");
    suite.add_test_cases(done.iter().map(case));
    let mut report = Report::new("weir");
    report.add_test_suite(suite);
    report.to_string()
}

fn case(done: &Done) -> TestCase {
    let status = match &done.failure {
        None => TestCaseStatus::success(),
        Some(why) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(why.as_str());
            status
        }
    };
    let name = &done.case.name;
    let kind = name.split('/').next().unwrap_or(name);
    let mut case = TestCase::new(name.as_str(), status);
    case.set_classname(kind).set_time(done.took);
    case
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Done, xml};
    use crate::ctl::connectivity::{
        plan::plan,
        topology::{Family, Topology},
    };

    #[test]
    fn tests_and_failures_are_counted() {
        let cases = plan(&Topology {
            nodes: vec!["a".to_owned()],
            families: vec![Family::Ipv4],
            dns: false,
        });
        let mut done: Vec<Done> = cases
            .into_iter()
            .map(|case| Done {
                case,
                failure: None,
                took: Duration::from_millis(1500),
            })
            .take(2)
            .collect();
        done[1].failure = Some("no <answer>".to_owned());
        let text = xml(&done).unwrap();
        assert!(text.starts_with("<?xml "), "{text}");
        for part in [
            r#"<testsuite name="connectivity" tests="2" skipped="0" errors="0" failures="1">"#,
            r#"<testcase name="pod-to-pod/ipv4/a/a" classname="pod-to-pod" time="1.500"/>"#,
            r#"<failure message="no &lt;answer&gt;"/>"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
