//! After a restart: which Service port the restored ids belong to. The maps know no names, but a frontend's
//! address, port and protocol do.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use proxy_common::frontends::{FLAG_CLUSTER_IP, FLAG_HOST_PORT, Frontend};

use super::{Port, ServiceSync};
use crate::{
    model::Snapshot,
    service::{
        Owner,
        desired::{self, DesiredFrontend, DesiredPort},
        key::FrontendKey,
    },
};

/// The restored frontends by the id of their Service port, and the ids that have found their owner.
#[derive(Default)]
struct Restored {
    frontends: HashMap<u32, Vec<FrontendKey>>,
    services: HashSet<u32>,
    sets: HashSet<u32>,
}

impl ServiceSync {
    /// Gives Service ports the ids that their frontends have in the maps.
    pub(super) fn claim(&mut self, snapshot: &Snapshot) {
        let mut restored = Restored::default();
        for (key, frontend) in self.image.frontends() {
            let keys = restored.frontends.entry(frontend.service).or_default();
            keys.push(key);
        }
        if restored.frontends.is_empty() {
            return;
        }
        let services = snapshot.services.iter().map(|(name, service)| {
            let desired = desired::service(service, &[], &self.place);
            (Owner::Service(name.clone()), desired)
        });
        let pods = self.host_ports.pods().map(|pod| {
            let desired = self.host_ports.of_pod(pod).to_vec();
            (Owner::Pod(Arc::clone(pod)), desired)
        });
        let mut claimed = Vec::new();
        for (owner, desired) in services.chain(pods) {
            let ports = desired
                .iter()
                .filter_map(|p| self.claim_port(p, &mut restored));
            let ports: Box<[Port]> = ports.collect();
            if !ports.is_empty() {
                claimed.push((owner, ports));
            }
        }
        self.ports.extend(claimed);
    }

    fn claim_port(&self, desired: &DesiredPort, restored: &mut Restored) -> Option<Port> {
        // What a pod has is not a Service's, though both may want it.
        let live = |wanted: &DesiredFrontend| {
            let live = self.image.frontend(&wanted.key);
            live.filter(|f| (f.flags ^ wanted.flags) & FLAG_HOST_PORT == 0)
        };
        // Other addresses and ports may have been another Service's, whose sets are not to be touched.
        let names = |f: &&DesiredFrontend| f.flags & (FLAG_CLUSTER_IP | FLAG_HOST_PORT) != 0;
        let own = desired.frontends.iter().filter(names);
        let is_named = |f: &Frontend| f.flags & (FLAG_CLUSTER_IP | FLAG_HOST_PORT) != 0;
        let mut known = own.filter_map(live).filter(is_named);
        let service = known
            .find(|f| !restored.services.contains(&f.service))?
            .service;
        restored.services.insert(service);
        let held = restored.frontends.remove(&service).unwrap_or_default();
        let mut port = Port::new(desired, service, held.into());
        for frontend in &desired.frontends {
            let Some(live) = live(frontend).filter(|f| f.service == service) else {
                continue;
            };
            let Frontend {
                internal, external, ..
            } = live;
            for (scope, set) in [
                (frontend.internal, internal.id),
                (frontend.external, external.id),
            ] {
                let slot = port.set_mut(scope);
                if *slot == 0 && set != 0 && restored.sets.insert(set) {
                    *slot = set;
                }
            }
        }
        Some(port)
    }
}
