//! Which endpoints serve a Service port on this node.
//!
//! The rules are those of Kubernetes (`pkg/proxy/topology.go`, `endpointslicecache.go`; KEP-1669, KEP-2086,
//! KEP-2433, KEP-3015): ready endpoints, else those that serve while terminating; for the whole cluster and
//! for this node independently; hints narrow the former only.

use std::{net::IpAddr, sync::Arc};

use crate::model::{Conditions, Endpoint, EndpointSlice, NodeHint, Placement, ServicePort};

#[cfg(test)]
mod oracle;

/// A server of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Server {
    /// Address.
    pub address: IpAddr,
    /// Port, host order.
    pub port: u16,
    /// Runs on this node.
    pub local: bool,
}

/// Servers of a Service port, each list sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// For traffic policy `Cluster`.
    pub cluster: Vec<Server>,
    /// For traffic policy `Local`.
    pub local: Vec<Server>,
    /// Whoever serves at all, wherever and however near: flows of datagrams may stay there.
    pub serving: Vec<Server>,
    /// Some endpoint somewhere could serve.
    pub any: bool,
    /// Endpoints by state, for people.
    pub counts: Counts,
}

/// Endpoints of a Service port by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ready.
    pub ready: u32,
    /// Serving while terminating.
    pub terminating: u32,
    /// Neither.
    pub not_ready: u32,
}

struct Candidate<'a> {
    server: Server,
    conditions: Conditions,
    placement: &'a Placement,
}

impl Candidate<'_> {
    /// Serves while it terminates.
    const fn is_closing(&self) -> bool {
        self.conditions.serving && self.conditions.terminating
    }

    /// Serves what has begun.
    const fn serves(&self) -> bool {
        self.conditions.ready || self.conditions.serving
    }

    /// Neither ready nor closing.
    const fn is_idle(&self) -> bool {
        !self.conditions.ready && !self.is_closing()
    }
}

/// Chooses the servers of a port for one family, on a node in `zone`.
pub fn choose(
    port: &ServicePort,
    ipv6: bool,
    slices: &[Arc<EndpointSlice>],
    zone: Option<&str>,
) -> Choice {
    let candidates = merge(port, ipv6, slices);
    let ready = || candidates.iter().filter(|c| c.conditions.ready);
    let closing = || candidates.iter().filter(|c| c.is_closing());
    let preference = Preference::of(&ready(), zone);
    let cluster = servers(ready().filter(|c| preference.allows(c.placement, zone)));
    let local = servers(ready().filter(|c| c.server.local));
    let counts = Counts {
        ready: count(ready()),
        terminating: count(closing().filter(|c| !c.conditions.ready)),
        not_ready: count(candidates.iter().filter(|c| c.is_idle())),
    };
    Choice {
        cluster: or_else(cluster, || servers(closing())),
        local: or_else(local, || servers(closing().filter(|c| c.server.local))),
        serving: servers(candidates.iter().filter(|c| c.serves())),
        any: counts.ready + counts.terminating > 0,
        counts,
    }
}

/// Ready endpoints of a Service on this node, over all its ports: what its health check port tells. Those of one
/// family, as each of kube-proxy's two instances counts: a pod has an endpoint in both. Of both the larger, as
/// one listener answers for both.
pub fn local_ready(slices: &[Arc<EndpointSlice>]) -> usize {
    let [v4, v6] = [false, true].map(|ipv6| local_ready_of(ipv6, slices));
    v4.max(v6)
}

fn local_ready_of(ipv6: bool, slices: &[Arc<EndpointSlice>]) -> usize {
    let slices = slices.iter().filter(|slice| slice.ipv6 == ipv6);
    let endpoints = slices.flat_map(|slice| slice.endpoints.iter());
    let ready = endpoints.filter(|e| e.conditions.ready && e.placement.here);
    let mut addresses: Vec<IpAddr> = ready.map(|e| e.address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.len()
}

/// All endpoints of the port, one per address and port. While a slice is split, or a new pod has the address
/// of one that terminates, several stand for the same server: one that does not terminate counts, then one
/// that is ready.
fn merge<'a>(
    port: &ServicePort,
    ipv6: bool,
    slices: &'a [Arc<EndpointSlice>],
) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for slice in slices.iter().filter(|s| s.ipv6 == ipv6) {
        let serves = slice
            .ports
            .iter()
            .filter(|p| p.name == port.name && p.protocol == port.protocol);
        for number in serves.map(|p| p.port) {
            let endpoints = slice.endpoints.iter();
            candidates.extend(endpoints.map(|e| candidate(e, number)));
        }
    }
    candidates.sort_by_key(|c| {
        let Server {
            address,
            port,
            local,
        } = c.server;
        let worse = (c.conditions.terminating, !c.conditions.ready, !local);
        (address, port, worse)
    });
    candidates.dedup_by_key(|c| (c.server.address, c.server.port));
    candidates
}

const fn candidate(endpoint: Endpoint<'_>, port: u16) -> Candidate<'_> {
    Candidate {
        server: Server {
            address: endpoint.address,
            port,
            local: endpoint.placement.here,
        },
        conditions: endpoint.conditions,
        placement: endpoint.placement,
    }
}

/// Which hints count on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preference {
    SameNode,
    SameZone,
    None,
}

impl Preference {
    /// Hints count only if every ready endpoint has one and at least one names us.
    fn of<'a>(
        ready: &(impl Iterator<Item = &'a Candidate<'a>> + Clone),
        zone: Option<&str>,
    ) -> Self {
        let follow = |allows: Self, hinted: fn(&Placement) -> bool| {
            let mut placements = ready.clone().map(|c| c.placement);
            let all = placements.clone().all(hinted);
            all && placements.any(|p| allows.allows(p, zone))
        };
        if follow(Self::SameNode, |p| p.for_nodes != NodeHint::None) {
            Self::SameNode
        } else if follow(Self::SameZone, |p| !p.for_zones.is_empty()) {
            Self::SameZone
        } else {
            Self::None
        }
    }

    fn allows(self, placement: &Placement, zone: Option<&str>) -> bool {
        match self {
            Self::SameNode => placement.for_nodes == NodeHint::Here,
            Self::SameZone => {
                zone.is_some_and(|zone| placement.for_zones.iter().any(|z| **z == *zone))
            }
            Self::None => true,
        }
    }
}

fn servers<'a>(candidates: impl Iterator<Item = &'a Candidate<'a>>) -> Vec<Server> {
    candidates.map(|c| c.server).collect()
}

fn or_else(servers: Vec<Server>, other: impl FnOnce() -> Vec<Server>) -> Vec<Server> {
    if servers.is_empty() { other() } else { servers }
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
