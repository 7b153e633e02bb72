//! What the host sends to Services without a socket hook.

use super::{Level, RANGES, Row};
use crate::api::messages::{HostStatus, Status};

fn routed(host: &HostStatus) -> String {
    let named: Vec<&str> = host
        .ranges
        .iter()
        .take(RANGES)
        .map(String::as_str)
        .collect();
    let more = match host.ranges.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("weir_host  {}{more} by {}", named.join(", "), host.source)
}

/// Its row.
pub(super) fn row(status: &Status) -> Row {
    let host = &status.host;
    let (level, text) = match (host.attached, host.source.is_empty()) {
        (false, _) => (Level::Starting, "no program on weir_host yet".to_owned()),
        (true, true) => (
            Level::Starting,
            "nothing routed to weir_host yet".to_owned(),
        ),
        (true, false) => (Level::Ok, routed(host)),
    };
    let mut row = Row::new("Host", level, text);
    if !host.elsewhere.is_empty() {
        row.level = row.level.max(Level::Warning);
        let past = host.elsewhere.iter();
        row.notes.extend(past.map(|what| {
            format!("{what}: socket hooks and the programs of links serve it, weir_host does not")
        }));
    }
    row
}
