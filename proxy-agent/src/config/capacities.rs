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
            conntrack,
            new_flows,
            endpoints,
            peers,
            cidrs,
            policy_cells,
            intervals,
        } = *self;
        let base = match size {
            MapSize::Large => Capacities::default(),
            MapSize::Small => Capacities::small(),
        };
        let or = |given: u32, default: u32| if given == 0 { default } else { given };
        Capacities {
            frontends: or(frontends, base.frontends),
            backends: or(backends, base.backends),
            backend_slots: or(backend_slots, base.backend_slots),
            backend_members: or(backend_members, base.backend_members),
            affinity: or(affinity, base.affinity),
            conntrack: or(conntrack, base.conntrack),
            new_flows: or(new_flows, base.new_flows),
            endpoints: or(endpoints, base.endpoints),
            peers: or(peers, base.peers),
            cidrs: or(cidrs, base.cidrs),
            policy_cells: or(policy_cells, base.policy_cells),
            intervals: or(intervals, base.intervals),
            ..base
        }
    }
}
