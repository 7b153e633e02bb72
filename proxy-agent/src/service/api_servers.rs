//! Where the cluster's API servers listen. No Service may have that as an external address: whoever creates Services would
//! have the connections of every node's programs, this agent's too, which could then not even learn that the Service is gone.

use std::{collections::BTreeSet, net::IpAddr};

use crate::model::{ObjectName, Protocol, Snapshot};

/// Addresses and ports of the endpoints of the Service `default/kubernetes`, ready or not: API servers keep them themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiServers(BTreeSet<(IpAddr, u16)>);

impl ApiServers {
    /// As the cluster names them.
    pub fn of(snapshot: &Snapshot) -> Self {
        let slices = snapshot.slices_of(&ObjectName::new("default", "kubernetes"));
        let each = slices.iter().flat_map(|slice| {
            let tcp = slice.ports.iter().filter(|p| p.protocol == Protocol::Tcp);
            let ports: Vec<u16> = tcp.map(|port| port.port).collect();
            let addresses = slice.endpoints.iter().map(|endpoint| endpoint.address);
            addresses.flat_map(move |ip| ports.clone().into_iter().map(move |port| (ip, port)))
        });
        Self(each.collect())
    }

    /// Whether one listens there.
    pub fn listen_at(&self, address: IpAddr, port: u16, protocol: Protocol) -> bool {
        protocol == Protocol::Tcp && self.0.contains(&(address, port))
    }
}
