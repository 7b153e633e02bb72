//! From the configured capacities to those of the datapath.

use super::{MapSize, Maps};
use crate::datapath::Capacities;

impl Maps {
    /// Capacities of the maps that are made now.
    pub fn capacities(&self) -> Capacities {
        let Self {
            size,
            frontends,
            backends,
            backend_slots,
            backend_members,
            affinity,
            source_ranges,
            conntrack,
            endpoints,
            peers,
            cidrs,
            policy_cells,
            intervals,
        } = *self;
        let base = match size {
            MapSize::Large => Capacities::for_memory(memory()),
            MapSize::Small => Capacities::small(),
        };
        let or = |given: u32, default: u32| if given == 0 { default } else { given };
        Capacities {
            frontends: or(frontends, base.frontends),
            backends: or(backends, base.backends),
            backend_slots: or(backend_slots, base.backend_slots),
            backend_members: or(backend_members, base.backend_members),
            affinity: or(affinity, base.affinity),
            source_ranges: or(source_ranges, base.source_ranges),
            conntrack: or(conntrack, base.conntrack),
            endpoints: or(endpoints, base.endpoints),
            peers: or(peers, base.peers),
            cidrs: or(cidrs, base.cidrs),
            policy_cells: or(policy_cells, base.policy_cells),
            intervals: or(intervals, base.intervals),
            ..base
        }
    }
}

/// Bytes of this machine's memory; 0 if it does not say.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|total| total.trim().strip_suffix(" kB"));
    kilobytes.and_then(|n| n.parse().ok()).unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_begin_from_the_size_and_the_machine() {
        assert!(memory() > 1 << 28, "{}", memory());
        let large = Maps::default().capacities();
        assert_eq!(large, Capacities::for_memory(memory()));
        let given = Maps {
            size: MapSize::Small,
            policy_cells: 77,
            ..Maps::default()
        };
        let expected = Capacities {
            policy_cells: 77,
            ..Capacities::small()
        };
        assert_eq!(given.capacities(), expected);
    }
}
