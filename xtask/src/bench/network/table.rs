//! Results as text: a block per circumstances, a line per metric and path.

use std::fmt::Write as _;

use super::row::Row;
use crate::bench::table::number;

/// Renders rows that are sorted by circumstances and metric.
pub(super) fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    for block in rows.chunk_by(|a, b| (&a.topic, &a.what) == (&b.topic, &b.what)) {
        let [first, ..] = block else { continue };
        // Writing to a String cannot fail, here and below.
        writeln!(text, "\n{}, {}", first.topic, first.what).ok();
        writeln!(
            text,
            "  {:<24} {:<30} {:>10} {:>12} {:>5} {:>7}",
            "METRIC", "PATH", "MEDIAN", "TO REFERENCE", "AIM", "SPREAD"
        )
        .ok();
        for row in block {
            writeln!(
                text,
                "  {:<24} {:<30} {:>10} {:>12.2} {:>5} {:>6.0}%",
                row.metric,
                row.path,
                number(row.value),
                row.ratio_to_reference,
                row.aim
                    .map_or_else(|| "-".to_owned(), |aim| format!("{aim:.2}")),
                row.spread * 100.0,
            )
            .ok();
        }
    }
    text
}
