//! The ways to other nodes' pods.

use std::collections::BTreeMap;

use super::{Level, RANGES, Row};
use crate::api::messages::Status;

/// Its row: how many ranges are reached in which way, and the first of them by name.
pub(super) fn row(status: &Status) -> Row {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for way in &status.ways {
        let kind = way.way.split(" to ").next().unwrap_or_default();
        *kinds.entry(kind).or_default() += 1;
    }
    let counts: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    let first = status.ways.iter().take(RANGES);
    let first: Vec<String> = first
        .map(|way| format!("{} {}: {}", way.node, way.range, way.way))
        .collect();
    let more = status.ways.len().saturating_sub(RANGES);
    let text = match (counts.is_empty(), more) {
        (true, _) => "no other nodes".to_owned(),
        (false, 0) => format!("{}   ({})", counts.join("   "), first.join(", ")),
        (false, more) => format!(
            "{}   ({} and {more} more)",
            counts.join("   "),
            first.join(", ")
        ),
    };
    let level = if status.node_conflicts.is_empty() {
        Level::Ok
    } else {
        Level::Warning
    };
    let mut row = Row::new("Ways", level, text);
    row.notes.clone_from(&status.node_conflicts);
    row
}
