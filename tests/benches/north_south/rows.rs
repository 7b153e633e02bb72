//! A round: all rows, one after the other.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use weir_tests::packets::Bench;

use crate::{
    again::{Again, Subject},
    flows::Measured,
};

/// Of what begins flows so many runs are enough: each takes room.
const NEW: u32 = 100_000;

/// Nanoseconds by row.
pub(crate) fn round(
    bench: &mut Bench,
    again: &mut Again,
    subjects: &mut [Measured],
    times: u32,
) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    for row in subjects.iter() {
        let Measured {
            case,
            family,
            keys,
            subject,
            action,
            to,
            plan,
            ends,
        } = row;
        if *subject == Subject::Balancer {
            again.serve(*to)?;
        }
        again.send(*plan, ends)?;
        let times = if *case == "begun" {
            times.min(NEW)
        } else {
            times
        };
        let value = again
            .time(bench, (*subject, *action), times)
            .with_context(|| format!("{case}, {family}, {keys}"))?;
        rows.push(json!({ "case": case, "family": family, "keys": keys, "value": value }));
    }
    Ok(rows)
}
