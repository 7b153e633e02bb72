//! Connections that were relayed when they began: they go on so to their end, whatever the mode is by then.

use proxy_common::conntrack::FLOW_RELAYED;

use crate::datapath::{Flows, Maps, clock};

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

    /// Whether any is open. Looks at each slot of the flow tables.
    pub fn are_any(&self) -> bool {
        let now = clock::seconds();
        let mut flows = self.flows.iter();
        flows.any(|flows| flows.any_open(now, FLOW_RELAYED))
    }
}
