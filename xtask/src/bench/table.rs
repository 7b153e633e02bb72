//! Results as text: a block per circumstances and metric, a line per path.

use std::fmt::Write as _;

use super::east_west::Row;

/// Renders rows that are sorted by circumstances and metric.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut block = None;
    for row in rows {
        let head = (row.services, row.rules, row.nodes);
        if block != Some(head) {
            block = Some(head);
            let (services, rules, nodes) = head;
            // Writing to a String cannot fail, here and below.
            writeln!(
                text,
                "\n{services} Services, {rules} rules, {nodes} node(s)"
            )
            .ok();
            writeln!(
                text,
                "  {:<24} {:<11} {:>12} {:>8} {:>8} {:>12}",
                "METRIC", "PATH", "MEDIAN", "TO BARE", "SPREAD", "TO NO RULES"
            )
            .ok();
        }
        writeln!(
            text,
            "  {:<24} {:<11} {:>12} {:>8.2} {:>7.0}% {:>12}",
            row.metric,
            row.path,
            number(row.value),
            row.ratio_to_bare,
            row.spread * 100.0,
            row.ratio_to_no_rules
                .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
        )
        .ok();
    }
    text
}

/// Four digits or so.
pub(super) fn number(value: f64) -> String {
    match value {
        large if large >= 1000.0 => format!("{large:.0}"),
        medium if medium >= 10.0 => format!("{medium:.1}"),
        small => format!("{small:.2}"),
    }
}
