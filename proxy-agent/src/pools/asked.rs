//! What Services ask of the pools and have of them, kept in step with what is observed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::demand::Demand;
use crate::{
    config::LoadBalancerSettings,
    model::{Kind, ObjectName, Service, Snapshot},
    subject::Turn,
};

/// All that is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// By Services of `type: LoadBalancer`.
    pub demands: Vec<Demand>,
    /// Addresses of nodes, which no Service is given.
    pub reserved: BTreeSet<IpAddr>,
    /// How many nodes there are.
    pub nodes: usize,
    /// All Services and nodes are known.
    pub complete: bool,
}

/// An address of a pool that a Service has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Whose it is.
    pub services: BTreeSet<ObjectName>,
    /// Only nodes with an endpoint serve it.
    pub local: bool,
    /// This one has an endpoint that is ready.
    pub here: bool,
}

/// The addresses that Services have.
pub type AllGiven = BTreeMap<IpAddr, Given>;

/// Follows Services.
#[derive(Debug, Default)]
pub struct Follower {
    demands: BTreeMap<ObjectName, (Demand, [bool; 2])>,
    begun: bool,
}

impl Follower {
    /// Looks at what has changed; whether anything of this has.
    pub fn follow(&mut self, turn: &Turn<'_>, settings: &LoadBalancerSettings) -> bool {
        let all = turn.relisted || !std::mem::replace(&mut self.begun, true);
        if all {
            let demands = turn.snapshot.services.values();
            let demands = demands.filter_map(|service| look(turn.snapshot, service, settings));
            let demands = demands.map(|found| (found.0.name.clone(), found)).collect();
            self.demands = demands;
            return true;
        }
        let mut changed = !turn.dirty.nodes.is_empty();
        for name in turn.dirty.services.keys() {
            let service = turn.snapshot.services.get(name);
            let found = service.and_then(|service| look(turn.snapshot, service, settings));
            changed |= self.demands.get(name) != found.as_ref();
            match found {
                Some(found) => drop(self.demands.insert(name.clone(), found)),
                None => drop(self.demands.remove(name)),
            }
        }
        changed
    }

    /// What is asked.
    pub fn asked(&self, snapshot: &Snapshot) -> Arc<Asked> {
        let nodes = snapshot.nodes.values();
        Arc::new(Asked {
            demands: self
                .demands
                .values()
                .map(|(demand, _)| demand.clone())
                .collect(),
            reserved: nodes.flat_map(|node| node.addresses.clone()).collect(),
            nodes: snapshot.nodes.len(),
            complete: snapshot.complete.has(&[Kind::Service, Kind::Node]) && !snapshot.partial,
        })
    }

    /// What is given of the pools.
    pub fn given(&self, settings: &LoadBalancerSettings) -> AllGiven {
        let mut all = AllGiven::new();
        let in_pool = |ip: &IpAddr| {
            let mut ranges = settings.pools.iter().flat_map(|pool| &pool.addresses);
            ranges.any(|range| range.contains(*ip))
        };
        for (demand, here) in self.demands.values().filter(|(demand, _)| demand.ours) {
            for ip in demand.given.iter().filter(|ip| in_pool(ip)) {
                let given = all.entry(*ip).or_insert_with(|| Given {
                    here: true,
                    ..Given::default()
                });
                given.services.insert(demand.name.clone());
                given.local |= demand.local;
                given.here &= !demand.local || here[usize::from(ip.is_ipv6())];
            }
        }
        all
    }
}

/// What a Service asks for, and of which families it has an endpoint here that is ready.
fn look(
    snapshot: &Snapshot,
    service: &Service,
    settings: &LoadBalancerSettings,
) -> Option<(Demand, [bool; 2])> {
    let demand = Demand::of(service, settings)?;
    let has = |ipv6: bool| {
        let slices = snapshot.slices_of(&service.name).iter();
        let mut slices = slices.filter(|slice| slice.ipv6 == ipv6);
        demand.local
            && slices.any(|slice| {
                let mut endpoints = slice.endpoints.iter();
                endpoints.any(|endpoint| endpoint.conditions.ready && endpoint.placement.here)
            })
    };
    let here = [has(false), has(true)];
    Some((demand, here))
}
