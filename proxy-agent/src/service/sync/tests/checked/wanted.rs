//! What is wanted of the maps, by frontend.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;
use proxy_common::frontends::FLAG_LOAD_BALANCER;

use crate::{
    model::Snapshot,
    service::{
        desired::{self, DesiredPort, Place, Scope},
        key::FrontendKey,
    },
};

/// Addresses of backends; the empty set stands for "nobody".
pub(super) type Serving = BTreeSet<String>;

/// All Service ports with the numbers of their Services.
pub(super) fn ports(snapshot: &Snapshot) -> Vec<(usize, DesiredPort)> {
    let mut ports = Vec::new();
    for (name, service) in &snapshot.services {
        let number: usize = name.name().trim_start_matches("service").parse().unwrap();
        let slices = snapshot.slices_of(name);
        let desired = desired::service(service, slices, &Place::default());
        ports.extend(desired.into_iter().map(|port| (number, port)));
    }
    ports
}

/// Who may use each address of a load balancer.
pub(super) fn sources(snapshot: &Snapshot) -> BTreeMap<FrontendKey, BTreeSet<IpNetwork>> {
    let mut sources = BTreeMap::new();
    for (_, port) in ports(snapshot) {
        let balanced = port.frontends.iter();
        let balanced = balanced.filter(|f| f.flags & FLAG_LOAD_BALANCER != 0);
        sources.extend(balanced.map(|f| (f.key, port.sources.clone())));
    }
    sources
}

pub(super) fn serving(port: &DesiredPort, scope: Scope) -> Serving {
    let servers = port.servers(scope).iter();
    servers.map(|s| s.address.to_string()).collect()
}

/// What a frontend refers to, who serves there, and who serves only what has begun; members are kept or not.
pub(super) struct Want {
    pub(super) scopes: [Scope; 2],
    pub(super) serving: [Serving; 2],
    pub(super) lingering: [Serving; 2],
    kept: bool,
}

impl Want {
    pub(super) fn members(&self, side: usize) -> Serving {
        if self.kept {
            &self.serving[side] | &self.lingering[side]
        } else {
            Serving::new()
        }
    }
}

/// By frontend.
pub(super) fn wanted(snapshot: &Snapshot) -> BTreeMap<FrontendKey, Want> {
    let mut wanted = BTreeMap::new();
    for (_, port) in ports(snapshot) {
        for frontend in &port.frontends {
            let scopes = [frontend.internal, frontend.external];
            let lingering = |scope| {
                port.lingering(scope)
                    .map(|s| s.address.to_string())
                    .collect()
            };
            let want = Want {
                scopes,
                serving: scopes.map(|scope| serving(&port, scope)),
                lingering: scopes.map(lingering),
                kept: port.members,
            };
            wanted.insert(frontend.key, want);
        }
    }
    wanted
}
