//! Ranges of pods that this node has claimed.

use super::{Level, Row};
use crate::api::messages::Status;

/// Its row.
pub(super) fn row(status: &Status) -> Row {
    let told = &status.pod_ranges;
    let (level, text) = match (told.claimed, told.ranges.is_empty()) {
        (false, _) => (Level::Ok, "as spec.podCIDRs of the Node say".to_owned()),
        (true, true) => (Level::Starting, "none claimed yet".to_owned()),
        (true, false) => (Level::Ok, format!("claimed {}", told.ranges.join(", "))),
    };
    let mut row = Row::new("Pod ranges", level, text);
    if !told.problems.is_empty() {
        row.level = row.level.max(Level::Warning);
        row.notes.clone_from(&told.problems);
    }
    row
}
