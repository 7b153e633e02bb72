//! Load balancers' addresses, where Weir gives them.

use super::{Level, RANGES, Row};
use crate::api::messages::{GivenAddress, Status};

/// Its row: who gives addresses, how many are given, and the first of them with who has and who announces them.
pub(super) fn row(status: &Status) -> Row {
    let told = &status.load_balancers;
    if told.pools.is_empty() {
        let text = "no pools of addresses".to_owned();
        return Row::new("Addresses", Level::Ok, text);
    }
    let pools = told.pools.iter();
    let pools = pools.map(|pool| format!("{} {}/{}", pool.name, pool.given, pool.addresses));
    let mut parts: Vec<String> = pools.collect();
    parts.push(match &told.leader {
        Some(leader) => format!("given by {leader}"),
        None => "given by nobody yet".to_owned(),
    });
    let first: Vec<String> = told.addresses.iter().take(RANGES).map(words).collect();
    let more = told.addresses.len().saturating_sub(RANGES);
    parts.extend(match (first.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("({})", first.join(", "))),
        (false, more) => Some(format!("({} and {more} more)", first.join(", "))),
    });
    let text = parts.join("   ");
    let mut row = Row::new("Addresses", Level::Ok, text);
    if !told.problems.is_empty() {
        row.level = Level::Warning;
        row.notes.clone_from(&told.problems);
    }
    row
}

fn words(address: &GivenAddress) -> String {
    let on = address.announced.iter().map(|on| match &on.node {
        Some(node) => format!("by {node} on {}", on.link),
        None => format!("by no node on {}", on.link),
    });
    let on: Vec<String> = on.collect();
    let on = if on.is_empty() {
        "on no link here".to_owned()
    } else {
        on.join(" and ")
    };
    let services = address.services.join(" and ");
    format!("{} {services} {on}", address.address)
}
