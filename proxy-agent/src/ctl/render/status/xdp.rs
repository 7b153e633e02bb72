//! XDP at the links that carry node traffic.

use super::{Level, RANGES, Row};
use crate::api::messages::{LinkStatus, Status};

/// Its row.
pub(super) fn row(status: &Status) -> Row {
    let links = status.links.links.iter();
    let told: Vec<String> = links.filter_map(of_link).collect();
    let mut named: Vec<String> = told.iter().take(RANGES).cloned().collect();
    match told.len() - named.len() {
        0 => {}
        more => named.push(format!("and {more} more")),
    }
    let text = if named.is_empty() {
        "none".to_owned()
    } else {
        named.join("   ")
    };
    Row::new("XDP", Level::Ok, text)
}

/// What there is to tell of a link.
fn of_link(link: &LinkStatus) -> Option<String> {
    let name = &link.name;
    match (&link.xdp, &link.no_xdp) {
        (Some(mode), _) => Some(format!("{name} {mode}")),
        (None, Some(why)) => Some(format!("{name} none ({why})")),
        (None, None) => None,
    }
}
