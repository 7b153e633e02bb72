//! What somebody changed or took away, and the agent put back.

use super::{Level, Row, age};
use crate::api::messages::{RepairStatus, Status};

/// Things that are named.
const NAMED: usize = 8;

/// Its row: a warning for a minute after each, and as long as somebody goes on.
pub(super) fn row(status: &Status) -> Row {
    let repairs = &status.repairs;
    let all: u64 = repairs.times.values().sum();
    let text = match repairs.recent.iter().min_by_key(|one| one.last_seconds) {
        None => format!("{all} since the start, none in the last 10 minutes"),
        Some(last) => format!(
            "{all} since the start, the last {} ago",
            age(last.last_seconds)
        ),
    };
    let mut row = Row::new("Repairs", Level::Ok, text);
    let mut standing: Vec<&RepairStatus> =
        repairs.recent.iter().filter(|one| one.stands()).collect();
    standing.sort_by_key(|one| (!one.recurs(), one.last_seconds));
    if !standing.is_empty() {
        row.level = Level::Warning;
    }
    row.notes
        .extend(standing.iter().take(NAMED).map(|one| note(one)));
    if standing.len() > NAMED {
        row.notes
            .push(format!("and {} more things", standing.len() - NAMED));
    }
    row
}

fn note(one: &RepairStatus) -> String {
    let RepairStatus { thing, times, .. } = one;
    let last = age(one.last_seconds);
    if one.recurs() {
        format!(
            "put back {times} times, the last {last} ago, what somebody changes: {thing}: find who wants it otherwise"
        )
    } else {
        format!("put back {last} ago what somebody changed or took away: {thing}")
    }
}
