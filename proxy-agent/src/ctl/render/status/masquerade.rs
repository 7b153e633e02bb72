//! In whose name pods speak out of the cluster.

use super::{Level, Row};
use crate::api::messages::Status;

/// Its row.
pub(super) fn row(status: &Status) -> Row {
    let masquerade = &status.masquerade;
    let families = masquerade.families.iter().map(|(family, holds)| {
        let word = if *holds { "yes" } else { "no" };
        format!("{family} {word}")
    });
    let families: Vec<String> = families.collect();
    let (level, text) = if families.is_empty() {
        (Level::Starting, "not known yet".to_owned())
    } else {
        let text = format!(
            "{}   {} ranges inside",
            families.join("   "),
            masquerade.inside
        );
        (Level::Ok, text)
    };
    let mut row = Row::new("Masquerade", level, text);
    if !masquerade.problems.is_empty() {
        row.level = row.level.max(Level::Warning);
        row.notes.clone_from(&masquerade.problems);
    }
    row
}
