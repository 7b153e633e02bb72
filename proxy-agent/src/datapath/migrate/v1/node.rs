//! What of the node says who has an address.

use std::collections::{HashMap, HashSet};

use proxy_common::{
    address::{Address4, Address6},
    conntrack::ENDPOINT_HOST,
    node::NODE_FORWARD_BPF,
    v1,
};

use super::flows::Node;

/// Pods and addresses of the node, and how packets go.
#[derive(Debug, Default)]
pub(super) struct Here {
    /// `NODE_*` bits.
    pub(super) flags: u32,
    /// Endpoint ids by address.
    pub(super) pods4: HashMap<Address4, u32>,
    /// Endpoint ids by address.
    pub(super) pods6: HashMap<Address6, u32>,
    /// The node's.
    pub(super) own4: HashSet<Address4>,
    /// The node's.
    pub(super) own6: HashSet<Address6>,
}

impl Here {
    /// Takes over who has which address from schema 1.
    pub(super) fn add_pods(
        &mut self,
        local4: &[(Address4, v1::LocalPod)],
        local6: &[(Address6, v1::LocalPod)],
    ) {
        self.pods4 = local4
            .iter()
            .map(|(address, pod)| (*address, pod.endpoint))
            .collect();
        self.pods6 = local6
            .iter()
            .map(|(address, pod)| (*address, pod.endpoint))
            .collect();
    }
}

fn end(pod: Option<&u32>, own: bool) -> u16 {
    match pod {
        Some(id) => u16::try_from(*id).unwrap_or(0),
        None if own => ENDPOINT_HOST,
        None => 0,
    }
}

impl Node<Address4> for Here {
    fn forwards(&self) -> bool {
        self.flags & NODE_FORWARD_BPF != 0
    }

    fn endpoint(&self, address: Address4) -> u16 {
        end(self.pods4.get(&address), self.own4.contains(&address))
    }
}

impl Node<Address6> for Here {
    fn forwards(&self) -> bool {
        self.flags & NODE_FORWARD_BPF != 0
    }

    fn endpoint(&self, address: Address6) -> u16 {
        end(self.pods6.get(&address), self.own6.contains(&address))
    }
}
