//! Session affinity: which backend a client keeps.

use proxy_common::affinity::Affinity;

use crate::know::service::Choice;
use crate::maps::{AFFINITY, Family};

/// Remembers a choice, if its Service port wants that; the time-out begins anew. `now` in seconds since boot.
#[inline(always)]
pub fn record<F: Family>(choice: &Choice<F>, now: u32) {
    if choice.affinity == 0 {
        return;
    }
    let value = Affinity {
        backend: choice.backend,
        last_used: now,
    };
    // On the stack: see `know::service::remembered`.
    let client = choice.client;
    // The map evicts by itself; without the entry the next connection chooses anew.
    AFFINITY.insert(client, value, 0).ok();
}
