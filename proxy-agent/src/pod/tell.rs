//! What others are told of endpoints.

use std::net::IpAddr;

use super::{Pods, host_port, local::Local, pods::name};
use crate::{
    datapath::TcMode,
    model::{HostPort, LocalEndpoint, ObjectName, Wire},
};

impl Pods {
    /// All endpoints, for the policy engine.
    pub fn endpoints(&self) -> Vec<LocalEndpoint> {
        self.known
            .values()
            .map(|local| LocalEndpoint {
                id: local.id,
                pod: name(&local.add),
                uid: local.uid().to_owned(),
                ips: local.add.ips.clone(),
                fetched: local.fetched.clone(),
            })
            .collect()
    }

    /// The `hostPort`s of each endpoint's pod, in the order in which they were wired.
    pub fn host_ports(&self) -> Vec<(String, Vec<HostPort>)> {
        let mut locals: Vec<&Local> = self.known.values().collect();
        locals.sort_by_key(|local| (local.since, local.id));
        let ports = locals.into_iter().map(|local| {
            // An ADD that gives no sense was refused.
            let ports = host_port::of(&local.add).unwrap_or_default();
            (local.add.pod.to_string(), ports)
        });
        ports.filter(|(_, ports)| !ports.is_empty()).collect()
    }

    /// Endpoint id → pod and addresses, for people.
    pub fn wired(&self) -> impl Iterator<Item = (u32, ObjectName, &[IpAddr])> {
        self.known
            .values()
            .map(|local| (local.id, name(&local.add), local.add.ips.as_slice()))
    }

    /// The host sides of all endpoints' interfaces.
    pub fn wires(&self) -> Vec<Wire> {
        let wire = |local: &Local| Wire {
            pod: local.add.pod.to_string(),
            name: local.add.host_ifname.clone(),
            index: local.add.host_ifindex,
            mtu: local.mtu(),
            pod_mac: local.add.pod_mac,
            ips: local.add.ips.clone(),
        };
        self.known.values().map(wire).collect()
    }

    /// How many endpoints' programs are attached in a way.
    pub fn attached(&self, mode: TcMode) -> usize {
        let locals = self.known.values();
        locals.filter(|local| local.mode == Some(mode)).count()
    }
}
