//! A pod with limits: what gets through, when, and what it costs.
//!
//! As much as one connection can carry, from the first byte on, to the limited pod and from it.

use std::{net::SocketAddr, process, time::Duration};

use anyhow::{Context as _, Result};
use weir_world::{
    Pod,
    bulk::{self, Transport, Way},
    load::of_process,
};

use super::{
    Plan,
    row::{self, By, Cells, Row, Topic},
};
use crate::{bench::objects::PORT, say};

mod beds;

use beds::Beds;

/// Bits per second, and the directions with it by name.
const LIMITS: [(u64, [&str; 2]); 2] = [
    (100_000_000, ["ingress 100M", "egress 100M"]),
    (1_000_000_000, ["ingress 1G", "egress 1G"]),
];
/// How long a run takes.
const TIME: Duration = Duration::from_secs(4);
const FIRST: Duration = Duration::from_secs(1);
/// Seconds after the first.
const REST: f64 = 3.0;
/// No more rounds than this: each takes long.
const ROUNDS: usize = 5;

/// All rounds: each limit in both directions by each way, the first of which changes.
pub(super) fn measure(plan: Plan) -> Result<Vec<Row>> {
    let beds = say::step("make the beds of Bandwidth", Beds::new)?;
    let mut order = [By::Reference, By::TheirBurst, By::Weir];
    let mut cells = Cells::default();
    let rounds = plan.rounds.min(ROUNDS);
    for round in 1..=rounds {
        order.rotate_left(1);
        say::step(&format!("Bandwidth: round {round} of {rounds}"), || {
            for (number, (limit, names)) in LIMITS.into_iter().enumerate() {
                for (direction, what) in names.into_iter().enumerate() {
                    for by in order {
                        let (free, limited) = beds.pods(by, number)?;
                        let ends = if direction == 0 {
                            (free, limited)
                        } else {
                            (limited, free)
                        };
                        let seen = run(ends, limit).with_context(|| format!("{what} by {by:?}"))?;
                        for (metric, value) in seen {
                            cells.put((Topic::Bandwidth, what), metric, by, value);
                        }
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(row::of(&cells))
}

/// What was seen of a limit, by name: the rate after the first second and that second's bytes, as parts of what the limit allows, and
/// processor microseconds of sender and receiver for a million bytes.
type Seen = [(&'static str, f64); 3];

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one run are far below 2^52"
)]
fn run((from, at): (&Pod, &Pod), limit: u64) -> Result<Seen> {
    let way = Way {
        from,
        to: SocketAddr::new(at.ipv4().into(), PORT),
        at,
        port: PORT,
    };
    let before = of_process(process::id())?;
    let arrived = bulk::send(&way, Transport::Tcp, TIME)?;
    let spent = of_process(process::id())? - before;
    let (first, all) = (arrived.until(FIRST) as f64, arrived.until(TIME) as f64);
    let bytes = limit as f64 / 8.0;
    Ok([
        ("rate_to_limit", (all - first) / (bytes * REST)),
        (
            "first_second_to_limit",
            first / (bytes * FIRST.as_secs_f64()),
        ),
        ("million_bytes_tasks_us", spent * 1e12 / all),
    ])
}
