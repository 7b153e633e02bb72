//! What the API tells about endpoints on this node: health check node ports, and Services whose traffic
//! policy is Local while no endpoint is here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::choice::local_ready;
use crate::{
    api::{
        health::FAMILIES,
        health_check_node_port::HealthCheck,
        metrics::{Metrics, NoLocal},
    },
    model::{Conditions, EndpointSlice, ObjectName, Service, ServiceType, Snapshot},
};

/// Facts about Services with a Local traffic policy, kept in step with what is dirty.
#[derive(Debug, Default)]
pub struct LocalEndpoints {
    checks: BTreeMap<ObjectName, HealthCheck>,
    /// By family, for internal and external traffic.
    lacking: [[BTreeSet<ObjectName>; 2]; 2],
}

impl LocalEndpoints {
    /// Looks at these Services again; whether other listeners are wanted now.
    pub fn update<'a>(
        &mut self,
        snapshot: &Snapshot,
        dirty: impl Iterator<Item = &'a ObjectName>,
    ) -> bool {
        let mut changed = false;
        for name in dirty {
            let slices = snapshot.slices_of(name);
            let service = snapshot.services.get(name).map(AsRef::as_ref);
            let check = service.and_then(|service| check(service, slices));
            changed |= self.checks.get(name) != check.as_ref();
            match check {
                Some(check) => drop(self.checks.insert(name.clone(), check)),
                None => drop(self.checks.remove(name)),
            }
            self.look(name, service, slices);
        }
        changed
    }

    /// Listeners that are wanted.
    pub const fn checks(&self) -> &BTreeMap<ObjectName, HealthCheck> {
        &self.checks
    }

    /// Sets the gauges.
    pub fn count(&self, metrics: &Metrics) {
        for (family, lacking) in FAMILIES.iter().zip(&self.lacking) {
            for (policy, names) in ["internal", "external"].iter().zip(lacking) {
                let labels = NoLocal::new(*family, *policy);
                let count = i64::try_from(names.len()).unwrap_or(i64::MAX);
                metrics.no_local_endpoints.get_or_create(&labels).set(count);
            }
        }
    }

    fn look(
        &mut self,
        name: &ObjectName,
        service: Option<&Service>,
        slices: &[Arc<EndpointSlice>],
    ) {
        let policies = service.map_or([false; 2], |s| [s.internal_local, s.external_local]);
        for (family, lacking) in self.lacking.iter_mut().enumerate() {
            let lacks = policies != [false; 2] && lacks_local(slices, family == 1);
            for (local, names) in policies.iter().zip(lacking) {
                if *local && lacks {
                    names.insert(name.clone());
                } else {
                    names.remove(name);
                }
            }
        }
    }
}

fn check(service: &Service, slices: &[Arc<EndpointSlice>]) -> Option<HealthCheck> {
    let asks = service.kind == ServiceType::LoadBalancer && service.external_local;
    (asks && service.health_check_node_port != 0).then(|| HealthCheck {
        port: service.health_check_node_port,
        local_endpoints: local_ready(slices) as u64,
    })
}

/// Endpoints of a family could serve, but none of them is here.
fn lacks_local(slices: &[Arc<EndpointSlice>], ipv6: bool) -> bool {
    let usable = |c: Conditions| c.ready || c.serving && c.terminating;
    let mut usable = slices
        .iter()
        .filter(|slice| slice.ipv6 == ipv6)
        .flat_map(|slice| slice.endpoints.iter())
        .filter(|endpoint| usable(endpoint.conditions))
        .map(|endpoint| endpoint.placement.here)
        .peekable();
    usable.peek().is_some() && !usable.any(|local| local)
}
