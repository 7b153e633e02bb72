//! docs/troubleshooting.md has an entry for each complaint and for each reason of a drop, and for nothing else.

use std::{collections::BTreeSet, fs, path::Path};

use proxy_agent::ctl::check::{Fault, fault::PAGE};
use proxy_common::counters::{REASONS, reason_name};

#[test]
fn every_complaint_and_every_drop_has_an_entry() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    let page = fs::read_to_string(path).unwrap();
    let entries = page.lines().filter_map(|line| line.strip_prefix("### "));
    let entries: Vec<&str> = entries.map(|line| line.trim_matches('`')).collect();
    let unique: BTreeSet<&str> = entries.iter().copied().collect();
    assert_eq!(
        unique.len(),
        entries.len(),
        "an anchor stands for one entry"
    );
    let faults = Fault::ALL.iter().map(|fault| fault.anchor());
    let reasons = REASONS.iter().map(|reason| reason_name(*reason));
    let wanted: BTreeSet<&str> = faults.chain(reasons).collect();
    assert_eq!(unique, wanted);
}

#[test]
fn every_entry_says_something() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    let page = fs::read_to_string(path).unwrap();
    let mut parts = page.split("\n### ").skip(1);
    assert!(parts.all(|part| {
        let (_, text) = part.split_once('\n').unwrap();
        let text = text.split("\n## ").next().unwrap();
        text.trim().len() > 60
    }));
}
