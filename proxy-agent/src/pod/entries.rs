//! What the maps should hold for a set of endpoints.

use std::{collections::BTreeMap, net::IpAddr};

use cni_plugin::rpc::Add;
use proxy_common::{
    address::{Address4, Address6, address4, address6},
    endpoints::{ENDPOINT_SHAPED, Endpoint, LocalPod},
};

/// Contents of `ENDPOINTS` and `LOCAL_PODS*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// `ENDPOINTS`.
    pub endpoints: BTreeMap<u32, Endpoint>,
    /// `LOCAL_PODS4`.
    pub local4: BTreeMap<Address4, LocalPod>,
    /// `LOCAL_PODS6`.
    pub local6: BTreeMap<Address6, LocalPod>,
}

impl Entries {
    /// The entries of these endpoints.
    pub fn of<'a>(endpoints: impl IntoIterator<Item = (u32, &'a Add)>) -> Self {
        let mut entries = Self::default();
        for (id, add) in endpoints {
            entries.insert(id, add);
        }
        entries
    }

    fn insert(&mut self, id: u32, add: &Add) {
        self.endpoints.insert(add.host_ifindex, endpoint(id, add));
        let local = LocalPod {
            ifindex: add.host_ifindex,
            endpoint: id,
            pod_mac: add.pod_mac,
            host_mac: add.host_mac,
            flags: flags(add),
        };
        for ip in &add.ips {
            match ip {
                IpAddr::V4(ip) => drop(self.local4.insert(address4(ip.octets()), local)),
                IpAddr::V6(ip) => drop(self.local6.insert(address6(ip.octets()), local)),
            }
        }
    }
}

/// The value of `ENDPOINTS`.
pub fn endpoint(id: u32, add: &Add) -> Endpoint {
    let mut endpoint = Endpoint {
        id,
        address4: 0,
        address6: [0; 4],
        pod_mac: add.pod_mac,
        host_mac: add.host_mac,
        flags: flags(add),
    };
    for ip in &add.ips {
        match ip {
            IpAddr::V4(ip) => endpoint.address4 = address4(ip.octets()),
            IpAddr::V6(ip) => endpoint.address6 = address6(ip.octets()),
        }
    }
    endpoint
}

fn flags(add: &Add) -> u32 {
    let shaped = add
        .bandwidth
        .as_ref()
        .is_some_and(|b| b.ingress_rate > 0 || b.egress_rate > 0);
    if shaped { ENDPOINT_SHAPED } else { 0 }
}
