//! Carries plans out, write by write.

use std::time::Instant;

use proxy_common::sources::SOURCE_ALLOWED;

use super::{Port, ServiceSync, resolve::Resolved};
use crate::{
    datapath::table::{Table, TableError},
    model::{ObjectName, Snapshot, Stamp},
    service::{
        Owner, SyncReport,
        desired::{self, DesiredPort, Scope},
        key::FrontendKey,
        plan::{Plan, Step},
        report::ServiceError,
        sources::Source,
    },
};

impl ServiceSync {
    /// Brings one Service, or the `hostPort`s of one pod, in step, or leaves them as they were if they do not
    /// fit. Where a write fails the rest is left for the next time: each state on the way is a valid one.
    pub(super) fn sync_owner(
        &mut self,
        owner: &Owner,
        snapshot: &Snapshot,
        report: &mut SyncReport,
    ) -> Result<(), ServiceError> {
        let mut desired = self.desired(owner, snapshot);
        let old = self.ports.remove(owner).unwrap_or_default();
        if old.is_empty() && desired.is_empty() {
            self.release(owner);
            if let Owner::Service(name) = owner {
                self.tell_unserved(name, snapshot);
            }
            return Ok(());
        }
        let owner = &share_text(owner, snapshot);
        let taken = self.yield_taken(owner, &mut desired, &old, snapshot);
        let resolved = self.resolve(&desired, &old);
        if let Err(error) = self.check_room(&resolved.plan) {
            self.keep(owner, old);
            self.strand(owner, &resolved);
            self.release(owner);
            return Err(error);
        }
        let displaced = self.displaced(&desired, &old);
        let carried_out = self.carry_out(&resolved.plan, report);
        for loser in displaced {
            self.mark(loser, Stamp::now());
        }
        if let Err(error) = carried_out {
            self.strand(owner, &resolved);
            self.keep(owner, half_way(resolved.ports, &old));
            return Err(error.into());
        }
        self.keep(owner, resolved.ports.into());
        self.want_tables(owner);
        self.release(owner);
        if let Owner::Service(name) = owner {
            self.tell_unserved(name, snapshot);
        }
        taken.map_or(Ok(()), Err)
    }

    /// Says what of a Service is not served, and why, if that is anything new.
    fn tell_unserved(&mut self, name: &ObjectName, snapshot: &Snapshot) {
        let service = snapshot.services.get(name);
        let reasons =
            service.map_or_else(Vec::new, |service| desired::unserved(service, &self.place));
        let known = self.unserved.remove(name).unwrap_or_default();
        for reason in reasons.iter().filter(|reason| !known.contains(reason)) {
            tracing::warn!(service = %name, "not served: {reason}");
        }
        if !reasons.is_empty() {
            self.unserved.insert(name.clone(), reasons);
        }
    }

    /// What somebody wants in the maps.
    pub(super) fn desired(&self, owner: &Owner, snapshot: &Snapshot) -> Vec<DesiredPort> {
        match owner {
            Owner::Pod(pod) => self.host_ports.of_pod(pod).to_vec(),
            Owner::Service(name) => {
                let slices = snapshot.slices_of(name);
                let service = snapshot.services.get(name);
                service.map_or_else(Vec::new, |s| desired::service(s, slices, &self.place))
            }
        }
    }

    fn keep(&mut self, owner: &Owner, ports: Box<[Port]>) {
        if !ports.is_empty() {
            self.ports.insert(owner.clone(), ports);
        }
    }

    /// Backends and members come before the slots that use them. After a failure they wait for the next
    /// attempt, which goes on from there.
    fn strand(&mut self, owner: &Owner, resolved: &Resolved) {
        let stranded = self.stranded.entry(owner.clone()).or_default();
        stranded.backends.extend(&resolved.reserved);
        stranded.members.extend(resolved.plan.members());
    }

    /// What earlier attempts have left is of use by now, or never.
    fn release(&mut self, owner: &Owner) {
        let now = Instant::now();
        let stranded = self.stranded.remove(owner).unwrap_or_default();
        for id in stranded.backends {
            self.image.look_at_backend(id, now);
        }
        for key in stranded.members {
            self.image.look_at_member(key, now);
        }
    }

    fn carry_out(&mut self, plan: &Plan, report: &mut SyncReport) -> Result<(), TableError> {
        for step in plan.steps() {
            self.step(step, report)?;
        }
        Ok(())
    }

    /// Does one step and notes it.
    pub(super) fn step(&mut self, step: &Step, report: &mut SyncReport) -> Result<(), TableError> {
        if let Step::RemoveFrontend(key, service) = step
            && self
                .image
                .frontend(key)
                .is_none_or(|f| f.service != *service)
        {
            return Ok(()); // It is another's by now.
        }
        let port = self.node_ports.change(step, &self.image);
        self.node_ports.before(port, &mut *self.tables.node_ports);
        self.write(step)?;
        report.writes += usize::from(step.writes());
        let now = Instant::now();
        self.after.note(step, &self.image, now);
        self.image.done(step, now);
        self.node_ports.after(port, &mut *self.tables.node_ports);
        self.freed |= step.frees();
        Ok(())
    }

    fn write(&mut self, step: &Step) -> Result<(), TableError> {
        let tables = &mut self.tables;
        match step {
            Step::Backend4(id, value) => tables.backends4.set(id, value),
            Step::Backend6(id, value) => tables.backends6.set(id, value),
            Step::Slot(key, id) => tables.slots.set(key, id),
            Step::Member(key, slot) => tables.members.set(key, slot),
            Step::Use(..) | Step::Drop(_) => Ok(()),
            Step::Frontend(FrontendKey::V4(key), value) => tables.frontends4.set(key, value),
            Step::Frontend(FrontendKey::V6(key), value) => tables.frontends6.set(key, value),
            Step::RemoveFrontend(FrontendKey::V4(key), _) => tables.frontends4.remove(key),
            Step::RemoveFrontend(FrontendKey::V6(key), _) => tables.frontends6.remove(key),
            Step::Source(Source::V4(key)) => tables.sources4.set(key, &SOURCE_ALLOWED),
            Step::Source(Source::V6(key)) => tables.sources6.set(key, &SOURCE_ALLOWED),
            Step::RemoveSource(Source::V4(key)) => tables.sources4.remove(key),
            Step::RemoveSource(Source::V6(key)) => tables.sources6.remove(key),
            Step::RemoveSlot(key) => tables.slots.remove(key),
            Step::RemoveMember(key) => tables.members.remove(key),
            Step::RemoveBackend(id) if self.image.pool4.knows(*id) => tables.backends4.remove(id),
            Step::RemoveBackend(id) => tables.backends6.remove(id),
        }
    }

    /// Whether all new entries of a plan fit. A Service is programmed whole or not at all.
    fn check_room(&self, plan: &Plan) -> Result<(), ServiceError> {
        let image = &self.image;
        let mut needed = [0; 8];
        for step in plan.steps() {
            let (map, new) = match step {
                Step::Frontend(key @ FrontendKey::V4(_), _) => (0, image.frontend(key).is_none()),
                Step::Frontend(key @ FrontendKey::V6(_), _) => (1, image.frontend(key).is_none()),
                Step::Backend4(id, _) => (2, image.pool4.get(*id).is_none()),
                Step::Backend6(id, _) => (3, image.pool6.get(*id).is_none()),
                Step::Slot(key, _) => (4, key.index as usize >= image.slots(key.set).len()),
                Step::Member(key, _) => (5, !image.members.contains_key(key)),
                Step::Source(source @ Source::V4(_)) => (6, !image.sources.has(source)),
                Step::Source(source @ Source::V6(_)) => (7, !image.sources.has(source)),
                _ => continue,
            };
            needed[map] += usize::from(new);
        }
        let (frontends4, frontends6) = image.frontend_counts();
        let [sources4, sources6] = image.sources.counts();
        let Self { tables, .. } = self;
        room(&*tables.frontends4, frontends4, needed[0])?;
        room(&*tables.frontends6, frontends6, needed[1])?;
        room(&*tables.backends4, image.pool4.len(), needed[2])?;
        room(&*tables.backends6, image.pool6.len(), needed[3])?;
        room(&*tables.slots, image.slot_count(), needed[4])?;
        room(&*tables.members, image.members.len(), needed[5])?;
        room(&*tables.sources4, sources4, needed[6])?;
        room(&*tables.sources6, sources6, needed[7])
    }

    /// Removes what has been useless for long enough.
    pub(super) fn collect(&mut self, report: &mut SyncReport) {
        let now = Instant::now();
        while let Some(step) = self.image.useless(now) {
            if let Err(error) = self.step(&step, report) {
                tracing::debug!(%error, "removal postponed");
                self.image.postpone(now);
            }
        }
    }
}

fn room<K, V>(table: &dyn Table<K, V>, used: usize, needed: usize) -> Result<(), ServiceError>
where
    K: Copy + Ord + std::fmt::Debug,
    V: Copy + PartialEq + std::fmt::Debug,
{
    let capacity = table.capacity();
    let free = (capacity as usize).saturating_sub(used);
    if needed <= free {
        return Ok(());
    }
    Err(ServiceError::NoRoom {
        map: table.name().to_owned(),
        needed,
        free,
        capacity,
    })
}

/// The name as the snapshot has it, so that its text is kept once.
fn share_text(owner: &Owner, snapshot: &Snapshot) -> Owner {
    if let Owner::Service(name) = owner
        && let Some((name, _)) = snapshot.services.get_key_value(name)
    {
        return Owner::Service(name.clone());
    }
    owner.clone()
}

/// After a failure the maps may hold the old and the new: remember the frontends and sets of both.
fn half_way(new: Vec<Port>, old: &[Port]) -> Box<[Port]> {
    let mut ports = new;
    for before in old {
        let Some(port) = ports.iter_mut().find(|p| p.service == before.service) else {
            ports.push(before.clone());
            continue;
        };
        let mut frontends = port.frontends.to_vec();
        frontends.extend(before.frontends.iter());
        frontends.sort_unstable();
        frontends.dedup();
        port.frontends = frontends.into();
        for scope in [Scope::Cluster, Scope::Local] {
            if port.set(scope) == 0 {
                *port.set_mut(scope) = before.set(scope);
            }
        }
    }
    ports.into()
}
