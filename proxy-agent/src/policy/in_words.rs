//! Cells and interval lists as they stand in the maps, in words.

use std::collections::BTreeSet;

use proxy_common::policy::{
    cells::{ALLOW_ALL, Cell, LIST},
    intervals::{CHAIN_LIMIT, Interval},
};

use super::view::PolicyView;
use crate::{datapath::table::TableError, model::Protocol};

/// All intervals of a list.
pub fn intervals(view: &impl PolicyView, list: u32) -> Result<Vec<Interval>, TableError> {
    let mut all = Vec::new();
    let mut number = list;
    for _ in 0..CHAIN_LIMIT {
        let Some(block) = view.block(number)? else {
            break;
        };
        let used = block.intervals.iter().take(usize::from(block.count));
        all.extend(used.copied());
        number = block.next;
        if number == 0 {
            break;
        }
    }
    Ok(all)
}

/// What a cell lets pass: `nothing`, `everything`, or `80/TCP,53/UDP`.
pub fn passes(view: &impl PolicyView, cell: Cell) -> Result<String, TableError> {
    Ok(match cell.kind {
        ALLOW_ALL => "everything".to_owned(),
        LIST => {
            let ports: Vec<_> = intervals(view, cell.list)?.iter().map(ports).collect();
            ports.join(",")
        }
        _ => "nothing".to_owned(),
    })
}

/// An interval: `80/TCP`, `8000-8080/TCP`, `UDP` for all its ports.
pub fn ports(interval: &Interval) -> String {
    let protocol = Protocol::from_number(interval.protocol)
        .map_or_else(|| interval.protocol.to_string(), |p| p.to_string());
    match (interval.low, interval.high) {
        (0, u16::MAX) => protocol,
        (low, high) if low == high => format!("{low}/{protocol}"),
        (low, high) => format!("{low}-{high}/{protocol}"),
    }
}

/// The rules that a cell refers to.
pub fn cookies(view: &impl PolicyView, cell: Cell) -> Result<Vec<u32>, TableError> {
    let mut cookies: BTreeSet<u32> = BTreeSet::new();
    if cell.kind == LIST {
        for interval in intervals(view, cell.list)? {
            cookies.insert(interval.cookie);
        }
    } else if cell.cookie != 0 {
        cookies.insert(cell.cookie);
    }
    Ok(cookies.into_iter().collect())
}
