//! Cells and interval lists as they stand in the maps, in words.

use std::collections::BTreeSet;

use proxy_common::policy::{
    cells::{ALLOW_ALL, Cell, LIST},
    intervals::Interval,
};

use super::view::PolicyView;
use crate::{
    datapath::{table::TableError, tree},
    model::Protocol,
};

/// So many intervals are named.
const NAMED: usize = 16;

/// All intervals of a list.
pub fn intervals(view: &impl PolicyView, list: u32) -> Result<Vec<Interval>, TableError> {
    let (_, intervals) = tree::walk(list, |number| view.block(number))?;
    Ok(intervals)
}

/// What a cell lets pass: `nothing`, `everything`, or `80/TCP,53/UDP`.
pub fn passes(view: &impl PolicyView, cell: Cell) -> Result<String, TableError> {
    Ok(match cell.kind {
        ALLOW_ALL => "everything".to_owned(),
        LIST => {
            let intervals = intervals(view, cell.list)?;
            let mut words: Vec<_> = intervals.iter().take(NAMED).map(ports).collect();
            if let Some(more @ 1..) = intervals.len().checked_sub(NAMED) {
                words.push(format!("{more} more"));
            }
            words.join(",")
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
