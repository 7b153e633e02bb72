//! From what a Service wants to ids, and from there to a plan.

use std::{collections::BTreeSet, time::Instant};

use proxy_common::{
    backends::{Backend4, Backend6},
    frontends::{BackendSet, Frontend},
};

use super::{Ids, Port, ServiceSync};
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
#[derive(Default)]
pub(super) struct Resolved {
    pub(super) ports: Vec<Port>,
    pub(super) plan: Plan,
    /// Backends that have got an id.
    pub(super) reserved: Vec<u32>,
}

impl Ids {
    /// The next id that is not taken. Zero is none.
    fn next(last: &mut u32, taken: impl Fn(u32) -> bool) -> u32 {
        loop {
            *last = last.wrapping_add(1).max(1);
            if !taken(*last) {
                return *last;
            }
        }
    }
}

impl ServiceSync {
    pub(super) fn resolve(&mut self, desired: &[DesiredPort], old: &[Port]) -> Resolved {
        let mut resolved = Resolved::default();
        for want in desired {
            let known = old.iter().find(|p| p.is(want));
            let port = self.resolve_port(want, known, &mut resolved);
            resolved.ports.push(port);
        }
        let wanted = |key: &FrontendKey| {
            let frontends = desired.iter().flat_map(|p| &p.frontends);
            frontends.into_iter().any(|f| f.key == *key)
        };
        for port in old {
            let left = port.frontends.iter().filter(|key| !wanted(key));
            let now = resolved
                .ports
                .iter_mut()
                .find(|p| p.service == port.service);
            if let Some(now) = now {
                now.hold(left.clone().filter(|key| self.awaited.contains(key)));
            }
            let stays =
                |key: &FrontendKey| resolved.ports.iter().any(|p| p.holds(port.service, key));
            let gone: Vec<&FrontendKey> = left.filter(|key| !stays(key)).collect();
            for key in gone {
                let plan = &mut resolved.plan;
                plan.remove_frontend(&self.image, *key, port.service);
            }
            let now = resolved.ports.iter().find(|p| p.service == port.service);
            if now.is_none() {
                let plan = &mut resolved.plan;
                plan.sources(&self.image, port.service, &BTreeSet::new());
            }
            for scope in SCOPES {
                let set = port.set(scope);
                if set != 0 && now.is_none_or(|p| p.set(scope) != set) {
                    resolved.plan.drop_set(&self.image, set);
                }
            }
        }
        resolved
    }

    fn resolve_port(
        &mut self,
        want: &DesiredPort,
        known: Option<&Port>,
        resolved: &mut Resolved,
    ) -> Port {
        // Nothing but frontends refers to these ids, and ids only grow: the next one is free.
        let service = known.map_or_else(
            || Ids::next(&mut self.ids.service, |_| false),
            |p| p.service,
        );
        let wanted = want.frontends.iter().map(|f| f.key).collect();
        let mut port = Port::new(want, service, wanted);
        let mut counts = [0; 2];
        for (scope, count) in SCOPES.into_iter().zip(&mut counts) {
            if want.uses(scope) {
                let set = known.map_or(0, |p| p.set(scope));
                (*port.set_mut(scope), *count) = self.resolve_set(want, scope, set, resolved);
            }
        }
        let set = |scope| BackendSet {
            id: port.set(scope),
            count: counts[usize::from(scope == Scope::Local)],
        };
        let mut outside = 0;
        let plan = &mut resolved.plan;
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
        &mut self,
        want: &DesiredPort,
        scope: Scope,
        known: u32,
        resolved: &mut Resolved,
    ) -> (u32, u32) {
        let servers = want.servers(scope);
        let set = if known == 0 {
            let image = &self.image;
            Ids::next(&mut self.ids.set, |id| !image.slots(id).is_empty())
        } else {
            known
        };
        let mut ids = |servers: &mut dyn Iterator<Item = &Server>| -> Vec<u32> {
            servers
                .filter_map(|server| self.backend(server, want.protocol, resolved))
                .collect()
        };
        let backends = ids(&mut servers.iter());
        let lingering = ids(&mut want.lingering(scope));
        let image = &mut self.image;
        let members = (backends.as_slice(), lingering.as_slice());
        image.keep_members(set, want.members, members, Instant::now());
        resolved.plan.set(image, set, &backends, want.members);
        resolved.plan.linger(image, set, &lingering);
        (set, backends.len() as u32)
    }

    /// The id of a server, which is written if it is not in the maps yet.
    fn backend(
        &mut self,
        server: &Server,
        protocol: Protocol,
        resolved: &mut Resolved,
    ) -> Option<u32> {
        if let Some(backend) = Backend4::new(server, protocol) {
            let id = self.id4(backend, resolved);
            resolved.plan.backend4(&self.image, id, backend);
            return Some(id);
        }
        let backend = Backend6::new(server, protocol)?;
        let id = self.id6(backend, resolved);
        resolved.plan.backend6(&self.image, id, backend);
        Some(id)
    }

    fn id4(&mut self, backend: Backend4, resolved: &mut Resolved) -> u32 {
        self.image.pool4.id(backend).unwrap_or_else(|| {
            let id = self.new_backend_id(resolved);
            self.image.pool4.reserve(id, backend);
            id
        })
    }

    fn id6(&mut self, backend: Backend6, resolved: &mut Resolved) -> u32 {
        self.image.pool6.id(backend).unwrap_or_else(|| {
            let id = self.new_backend_id(resolved);
            self.image.pool6.reserve(id, backend);
            id
        })
    }

    fn new_backend_id(&mut self, resolved: &mut Resolved) -> u32 {
        let image = &self.image;
        let taken = |id| image.pool4.knows(id) || image.pool6.knows(id);
        let id = Ids::next(&mut self.ids.backend, taken);
        resolved.reserved.push(id);
        id
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

    fn owner(&self, service: u32) -> Option<&Owner> {
        let mut ports = self.ports.iter();
        let owner = ports.find(|(_, ports)| ports.iter().any(|p| p.service == service));
        owner.map(|(owner, _)| owner)
    }
}
