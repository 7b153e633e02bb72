//! Results as text.

use std::fmt::Write as _;

use super::rows::Row;

/// Renders rows that are sorted: a line each, below the heading of their family and flows.
pub(super) fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut block = None;
    for row in rows {
        let head = (&row.subject.family, &row.subject.keys);
        if block != Some(head) {
            block = Some(head);
            let name = format!("{}, flows: {}", head.0, head.1);
            // Writing to a String cannot fail, here and below.
            writeln!(text, "\n{name:<30} NANOSECONDS SPREAD MORE THAN BARE RATIO").ok();
        }
        writeln!(
            text,
            "  {:<28} {:>11.0} {:>5.0}% {:>14.0} {:>5.2}",
            row.subject.case,
            row.value,
            row.spread * 100.0,
            row.more,
            row.ratio,
        )
        .ok();
    }
    text
}
