//! Connections that were relayed when they began: they go on so to their end, whatever the mode is by then.

use proxy_common::{conntrack::FLOW_RELAYED, tunnel::TUNNEL_DEVICE};

use crate::{
    datapath::{Flows, Maps, clock},
    node::facts::Facts,
};

/// Those of this node.
#[derive(Debug)]
pub struct Relayed {
    flows: [Flows; 2],
}

impl Relayed {
    /// Those of both families.
    pub fn of(maps: &Maps) -> Self {
        Self {
            flows: maps.flows().map(Clone::clone),
        }
    }

    /// Whether the tunnel's device, if there is one, carries any. Looks at each slot of the flow tables.
    pub fn need_device(&self, facts: &Facts) -> bool {
        let now = clock::seconds();
        let is_there = facts
            .interfaces
            .iter()
            .any(|link| link.name == TUNNEL_DEVICE);
        let mut flows = self.flows.iter();
        is_there && flows.any(|flows| flows.any_open(now, FLOW_RELAYED))
    }
}
