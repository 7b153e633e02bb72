//! Session affinities that count. `AFFINITY` evicts whoever was seen longest ago, and keeps those whose time is over until it
//! needs their room: it is full when all is well, and too small only if those that are not over fill it.

use std::collections::BTreeMap;

use proxy_common::affinity::Affinity;

use super::{clock, maps::Maps, table::TableError};

/// The map.
pub(in crate::datapath) const AFFINITY: &str = "AFFINITY";

/// Time-outs by Service port.
#[derive(Default)]
struct TimeOuts(BTreeMap<u32, u32>);

impl TimeOuts {
    fn add(&mut self, service: u32, seconds: u32) {
        if seconds > 0 {
            self.0.insert(service, seconds);
        }
    }

    fn is_living(&self, service: u32, entry: Affinity, now: u32) -> bool {
        let seconds = self.0.get(&service);
        seconds.is_some_and(|seconds| now.saturating_sub(entry.last_used) < *seconds)
    }
}

/// How many there are, of so many entries in all. They are looked at one by one only where that matters.
pub(super) fn affinities(maps: &Maps, entries: u32, capacity: u32) -> Result<u32, TableError> {
    if !is_near(entries, capacity) {
        return Ok(entries);
    }
    let mut seconds = TimeOuts::default();
    maps.frontends4
        .visit(|_, to| seconds.add(to.service, to.affinity_seconds))?;
    maps.frontends6
        .visit(|_, to| seconds.add(to.service, to.affinity_seconds))?;
    let (mut living, now) = (0, clock::seconds());
    maps.affinity.visit(|key, entry| {
        living += u32::from(seconds.is_living(key.service, *entry, now));
    })?;
    Ok(living)
}

/// Three quarters are when other maps grow.
fn is_near(entries: u32, capacity: u32) -> bool {
    u64::from(entries) * 4 > u64::from(capacity) * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_seen_within_the_time_out_of_its_service_is_living() {
        let mut seconds = TimeOuts::default();
        for (service, affinity_seconds) in [(1, 100), (2, 0), (3, 10)] {
            seconds.add(service, affinity_seconds);
        }
        let entry = |last_used| Affinity {
            backend: 7,
            last_used,
        };
        for (service, last_used, living) in [
            (1, 950, true),
            (1, 900, false),
            (2, 1000, false),
            (3, 1000, true),
            (3, 985, false),
            (4, 1000, false),
            // Written since the clock was read.
            (1, 1001, true),
        ] {
            let is = seconds.is_living(service, entry(last_used), 1000);
            assert_eq!(is, living, "{service} {last_used}");
        }
        assert!(!is_near(75, 100) && is_near(76, 100));
    }
}
