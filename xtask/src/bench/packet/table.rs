//! Results as text.

use std::fmt::Write as _;

use super::rows::Row;

/// Renders rows that are sorted: a line each, below the heading of their case.
pub(super) fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut block = None;
    for row in rows {
        let subject = &row.subject;
        let head = (&subject.case, &subject.family, &subject.protocol);
        if block != Some(head) {
            block = Some(head);
            let (case, family, protocol) = head;
            let name = format!("{case}, {family}, {protocol}");
            // Writing to a String cannot fail, here and below.
            write!(
                text,
                "\n{name:<32} RULES NANOSECONDS SPREAD TO NO RULES TO TCP"
            )
            .ok();
            if row.against.is_some() {
                text.push_str(" THEIRS RATIO SPREAD");
            }
            text.push('\n');
        }
        line(&mut text, row);
    }
    text
}

fn line(text: &mut String, row: &Row) {
    let to_tcp = row
        .ratio_to_tcp
        .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    write!(
        text,
        "  {:<30} {:>5} {:>11.0} {:>5.0}% {:>11.2} {to_tcp:>6}",
        row.subject.metric,
        row.subject.rules,
        row.value,
        row.spread * 100.0,
        row.ratio_to_no_rules,
    )
    .ok();
    if let Some(against) = row.against {
        write!(
            text,
            " {:>6.0} {:>5.2} {:>5.0}%",
            against.theirs,
            against.ratio,
            against.ratio_spread * 100.0,
        )
        .ok();
    }
    text.push('\n');
}
