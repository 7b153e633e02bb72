//! From what a Service wants to ids, and from there to a plan.

use std::collections::BTreeSet;

use proxy_common::{
    backends::{Backend4, Backend6},
    frontends::{BackendSet, Frontend},
};

use super::{Port, ServiceSync, draft::Draft};
use crate::{
    model::{Protocol, Snapshot},
    service::{
        Owner,
        choice::Server,
        desired::{self, DesiredPort, Scope},
        key::FrontendKey,
        maglev::OUTSIDE,
        plan::Plan,
        pool::Backend as _,
        report::ServiceError,
    },
};

const SCOPES: [Scope; 2] = [Scope::Cluster, Scope::Local];

/// A Service's ports with their ids, and how to get there.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Resolved {
    pub(super) ports: Vec<Port>,
    pub(super) plan: Plan,
}

impl ServiceSync {
    /// What is to be written so that ports are as desired. Changes nothing: ids are chosen in the draft.
    pub(super) fn resolve(
        &self,
        draft: &mut Draft,
        desired: &[DesiredPort],
        old: &[Port],
    ) -> Resolved {
        let mut plan = Plan::default();
        let mut ports: Vec<Port> = Vec::with_capacity(desired.len());
        for want in desired {
            let known = old.iter().find(|p| p.is(want));
            ports.push(self.resolve_port(draft, want, known, &mut plan));
        }
        let wanted = |key: &FrontendKey| {
            let frontends = desired.iter().flat_map(|p| &p.frontends);
            frontends.into_iter().any(|f| f.key == *key)
        };
        for port in old {
            let left = port.frontends.iter().filter(|key| !wanted(key));
            let now = ports.iter_mut().find(|p| p.service == port.service);
            if let Some(now) = now {
                now.hold(left.clone().filter(|key| self.awaited.contains(key)));
            }
            let stays = |key: &FrontendKey| ports.iter().any(|p| p.holds(port.service, key));
            let gone: Vec<&FrontendKey> = left.filter(|key| !stays(key)).collect();
            for key in gone {
                plan.remove_frontend(&self.image, *key, port.service);
            }
            let now = ports.iter().find(|p| p.service == port.service);
            if now.is_none() {
                plan.sources(&self.image, port.service, &BTreeSet::new());
            }
            for scope in SCOPES {
                let set = port.set(scope);
                if set != 0 && now.is_none_or(|p| p.set(scope) != set) {
                    plan.drop_set(&self.image, set);
                }
            }
        }
        Resolved { ports, plan }
    }

    fn resolve_port(
        &self,
        draft: &mut Draft,
        want: &DesiredPort,
        known: Option<&Port>,
        plan: &mut Plan,
    ) -> Port {
        let service = known.map_or_else(|| draft.service(), |p| p.service);
        let wanted = want.frontends.iter().map(|f| f.key).collect();
        let mut port = Port::new(want, service, wanted);
        let mut counts = [0; 2];
        for (scope, count) in SCOPES.into_iter().zip(&mut counts) {
            if want.uses(scope) {
                let set = known.map_or(0, |p| p.set(scope));
                (*port.set_mut(scope), *count) = self.resolve_set(draft, want, (scope, set), plan);
            }
        }
        let set = |scope| BackendSet {
            id: port.set(scope),
            count: counts[usize::from(scope == Scope::Local)],
        };
        let mut outside = 0;
        plan.sources(&self.image, service, &want.sources);
        for frontend in &want.frontends {
            let external = set(frontend.external);
            let mut maglev = 0;
            if frontend.flags & OUTSIDE != 0 {
                outside = external.id;
                maglev = self.table_of(external.id, external.count as usize);
            }
            let value = Frontend {
                service,
                flags: frontend.flags,
                affinity_seconds: want.affinity_seconds,
                maglev,
                internal: set(frontend.internal),
                external,
            };
            plan.frontend(&self.image, frontend.key, value);
        }
        port.outside = outside;
        port
    }

    fn resolve_set(
        &self,
        draft: &mut Draft,
        want: &DesiredPort,
        (scope, known): (Scope, u32),
        plan: &mut Plan,
    ) -> (u32, u32) {
        let image = &self.image;
        let set = if known == 0 { draft.set(image) } else { known };
        let mut ids = |servers: &mut dyn Iterator<Item = &Server>| -> Vec<u32> {
            servers
                .filter_map(|server| self.backend(draft, server, want.protocol, plan))
                .collect()
        };
        let backends = ids(&mut want.servers(scope).iter());
        let lingering = ids(&mut want.lingering(scope));
        plan.set(image, set, &backends, want.members);
        plan.keep(image, set, want.members, (&backends, &lingering));
        (set, backends.len() as u32)
    }

    /// The id of a server, which is written if it is not in the maps yet.
    fn backend(
        &self,
        draft: &mut Draft,
        server: &Server,
        protocol: Protocol,
        plan: &mut Plan,
    ) -> Option<u32> {
        let image = &self.image;
        if let Some(backend) = Backend4::new(server, protocol) {
            let id = draft.backend4(image, backend);
            plan.backend4(image, id, backend);
            return Some(id);
        }
        let backend = Backend6::new(server, protocol)?;
        let id = draft.backend6(image, backend);
        plan.backend6(image, id, backend);
        Some(id)
    }

    /// Takes out the frontends that somebody else holds and still wants (two Services may claim one external
    /// or load balancer address). The older Service has it, and a pod's `hostPort` gives way to any.
    pub(super) fn yield_taken(
        &self,
        owner: &Owner,
        desired: &mut [DesiredPort],
        old: &[Port],
        snapshot: &Snapshot,
    ) -> Option<ServiceError> {
        let mut taken = None;
        for port in desired {
            port.frontends.retain(|frontend| {
                let key = frontend.key;
                let rival = self.rival(owner, &key, old, snapshot);
                let free = rival.is_none();
                taken = taken.take().or(rival.map(|rival| ServiceError::Taken {
                    key,
                    owner: rival.to_string(),
                }));
                free
            });
        }
        taken
    }

    /// Somebody else who holds a frontend, wants it, and need not give way.
    fn rival(
        &self,
        owner: &Owner,
        key: &FrontendKey,
        old: &[Port],
        snapshot: &Snapshot,
    ) -> Option<&Owner> {
        let live = self.image.frontend(key)?;
        if old.iter().any(|p| p.service == live.service) {
            return None;
        }
        let holder = self.owner(live.service)?;
        let gives_way = holder.yields_to(owner) || Self::is_older(owner, holder, snapshot);
        if holder == owner || gives_way {
            return None;
        }
        let ports = match holder {
            // Endpoints are of no interest here.
            Owner::Service(name) => {
                desired::service(snapshot.services.get(name)?, &[], &self.place)
            }
            Owner::Pod(pod) => self.host_ports.of_pod(pod).to_vec(),
        };
        let mut wanted = ports.iter().flat_map(|p| &p.frontends);
        wanted.any(|f| f.key == *key).then_some(holder)
    }

    /// Those who give way.
    pub(super) fn displaced(&self, desired: &[DesiredPort], old: &[Port]) -> Vec<Owner> {
        let frontends = desired.iter().flat_map(|p| &p.frontends);
        let live = frontends.filter_map(|f| self.image.frontend(&f.key));
        live.filter(|live| old.iter().all(|p| p.service != live.service))
            .filter_map(|live| self.owner(live.service).cloned())
            .collect()
    }

    /// Whether a Service is older than another one; of two of the same age (or manifests, which have none) the one
    /// whose name comes first.
    fn is_older(owner: &Owner, other: &Owner, snapshot: &Snapshot) -> bool {
        let (Owner::Service(one), Owner::Service(other)) = (owner, other) else {
            return false;
        };
        let age = |name| Some((snapshot.services.get(name)?.created, name));
        age(one) < age(other)
    }

    pub(super) fn owner(&self, service: u32) -> Option<&Owner> {
        let mut ports = self.ports.iter();
        let owner = ports.find(|(_, ports)| ports.iter().any(|p| p.service == service));
        owner.map(|(owner, _)| owner)
    }
}
