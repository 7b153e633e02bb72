//! The links that carry node traffic.

use super::{Level, RANGES, Row};
use crate::api::messages::{LinkStatus, Status};

/// Their row.
pub(super) fn row(status: &Status) -> Row {
    let links = &status.links.links;
    let missing = links.iter().filter(|link| link.attached.is_none());
    let missing: Vec<&str> = missing.map(|link| link.name.as_str()).collect();
    let level = match (links.is_empty(), missing.is_empty()) {
        (true, _) => Level::Starting,
        (false, false) => Level::Error,
        (false, true) => Level::Ok,
    };
    let mut row = Row::new("Links", level, named(links));
    if !missing.is_empty() {
        let names = missing.join(", ");
        row.notes.push(format!(
            "programs are not attached to {names}: NodePorts and pods are not served there"
        ));
    }
    if !status.links.notes.is_empty() {
        row.level = row.level.max(Level::Warning);
        row.notes.extend(status.links.notes.iter().cloned());
    }
    row
}

fn named(links: &[LinkStatus]) -> String {
    let name = |link: &LinkStatus| {
        let header = if link.ethernet { "" } else { " (no Ethernet)" };
        format!("{}{header}", link.name)
    };
    let named: Vec<String> = links.iter().take(RANGES).map(name).collect();
    match links.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
