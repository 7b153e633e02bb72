//! Carries plans out, write by write.

use std::time::Instant;

use proxy_common::{backends::SlotKey, sources::SOURCE_ALLOWED};

use super::{
    Ids, Port, ServiceSync,
    draft::{Draft, Needs},
    resolve::Resolved,
};
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

/// What brings somebody in step: a value. Nothing knows of it before it is carried out.
pub(super) struct Planned {
    pub(super) resolved: Resolved,
    /// What is programmed of it.
    old: Box<[Port]>,
    pub(super) needs: Needs,
    /// Who gives way.
    displaced: Vec<Owner>,
    /// A frontend that somebody else has, and need not give up.
    taken: Option<ServiceError>,
}

impl Planned {
    /// Whether it may be carried out together with others.
    pub(super) const fn only_adds(&self) -> bool {
        self.resolved.plan.only_adds() && self.displaced.is_empty() && self.taken.is_none()
    }
}

impl ServiceSync {
    /// Brings one Service, or the `hostPort`s of one pod, in step by a plan that took these ids, or leaves them as they were if
    /// they do not fit. Where a write fails the rest is left for the next time: each state on the way is a valid one.
    pub(super) fn sync_owner(
        &mut self,
        owner: &Owner,
        (planned, ids): (Planned, Ids),
        snapshot: &Snapshot,
        report: &mut SyncReport,
    ) -> Result<(), ServiceError> {
        if let Err(error) = self.check_room(&planned.needs, &Needs::default()) {
            self.release(owner);
            return Err(error);
        }
        for loser in &planned.displaced {
            self.mark(loser.clone(), Stamp::now());
        }
        let mut written = 0;
        let carried_out = self.carry_out(&planned.resolved.plan, &mut written, report);
        self.settle(owner, planned, (written, carried_out), (ids, snapshot))
    }

    /// What brings somebody in step, after what is drafted.
    pub(super) fn plan(&self, owner: &Owner, snapshot: &Snapshot, draft: &mut Draft) -> Planned {
        let mut desired = self.desired(owner, snapshot);
        let old = self.ports.get(owner).map_or(&[][..], |ports| ports);
        let taken = self.yield_taken(owner, &mut desired, old, snapshot);
        let resolved = self.resolve(draft, &desired, old);
        Planned {
            needs: self.needs(&resolved.plan),
            displaced: self.displaced(&desired, old),
            old: old.into(),
            taken,
            resolved,
        }
    }

    /// Takes over what was carried out of a plan, so many steps of which were done: all of it, or as far as it went.
    pub(super) fn settle(
        &mut self,
        owner: &Owner,
        planned: Planned,
        (written, carried_out): (usize, Result<(), TableError>),
        (ids, snapshot): (Ids, &Snapshot),
    ) -> Result<(), ServiceError> {
        let Planned {
            resolved: Resolved { ports, plan },
            old,
            taken,
            ..
        } = planned;
        if let Err(error) = carried_out {
            if written > 0 {
                self.ids = ids;
                self.strand(owner, &plan);
                self.keep(owner, half_way(ports, &old));
            }
            return Err(error.into());
        }
        self.ids = ids;
        self.keep(owner, ports.into());
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
        if ports.is_empty() {
            self.ports.remove(owner);
        } else {
            self.ports.insert(owner.clone(), ports);
        }
    }

    /// Backends and members come before the slots that use them, and slots before they are used: those that were written wait for
    /// the next attempt, which goes on from there.
    fn strand(&mut self, owner: &Owner, plan: &Plan) {
        let stranded = self.stranded.entry(owner.clone()).or_default();
        let image = &self.image;
        let there = |id: &u32| image.pool4.knows(*id) || image.pool6.knows(*id);
        for step in plan.first() {
            match step {
                Step::Backend4(id, _) | Step::Backend6(id, _) if there(id) => {
                    stranded.backends.insert(*id);
                }
                Step::Member(key, _) if image.members.contains_key(key) => {
                    stranded.members.insert(*key);
                }
                Step::Slot(key, _) if image.slots(key.set).len() > image.used(key.set) => {
                    stranded.sets.insert(key.set);
                }
                _ => {}
            }
        }
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
        for set in stranded.sets {
            self.image.look_at_slots(set, now);
        }
    }

    /// Carries a plan out, and counts the steps that are done.
    fn carry_out(
        &mut self,
        plan: &Plan,
        done: &mut usize,
        report: &mut SyncReport,
    ) -> Result<(), TableError> {
        for step in plan.first() {
            self.step(step, report)?;
            *done += 1;
        }
        for kept in &plan.keeps {
            self.image.keep_members(kept, Instant::now());
        }
        for step in plan.then() {
            self.step(step, report)?;
            *done += 1;
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
        self.announce(step);
        self.write(step)?;
        self.note(step, Instant::now(), report);
        Ok(())
    }

    /// To be called before a step is done.
    pub(super) fn announce(&mut self, step: &Step) {
        let port = self.node_ports.change(step, &self.image);
        self.node_ports.before(port, &mut *self.tables.node_ports);
    }

    /// Notes a step that was done.
    pub(super) fn note(&mut self, step: &Step, now: Instant, report: &mut SyncReport) {
        let port = self.node_ports.change(step, &self.image);
        report.writes += usize::from(step.writes());
        self.after.note(step, &self.image, now);
        self.image.done(step, now);
        self.node_ports.after(port, &mut *self.tables.node_ports);
        self.node_ports.note(step);
        self.freed |= step.frees();
    }

    /// Notes slots of a set that were written, from this one on: for each the same as [`Self::note`].
    pub(super) fn note_slots(
        &mut self,
        first: SlotKey,
        ids: &[u32],
        now: Instant,
        report: &mut SyncReport,
    ) {
        report.writes += ids.len();
        let SlotKey { set, index } = first;
        self.image.slots_written(set, index as usize, ids, now);
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

    /// The new entries of a plan.
    fn needs(&self, plan: &Plan) -> Needs {
        let image = &self.image;
        let mut needs = Needs::default();
        for step in plan.steps() {
            let Some(map) = step.map() else {
                continue;
            };
            let new = match step {
                Step::Frontend(key, _) => image.frontend(key).is_none(),
                Step::Backend4(id, _) => image.pool4.get(*id).is_none(),
                Step::Backend6(id, _) => image.pool6.get(*id).is_none(),
                Step::Slot(key, _) => key.index as usize >= image.slots(key.set).len(),
                Step::Member(key, _) => !image.members.contains_key(key),
                Step::Source(source) => !image.sources.has(source),
                _ => false,
            };
            needs[map] += usize::from(new);
        }
        needs
    }

    /// Whether the new entries of a plan fit, beside those that others will take. A Service is programmed whole or not at all.
    pub(super) fn check_room(&self, needs: &Needs, others: &Needs) -> Result<(), ServiceError> {
        let Self { tables, image, .. } = self;
        let (frontends4, frontends6) = image.frontend_counts();
        let [sources4, sources6] = image.sources.counts();
        let fits = |map: usize, known: usize| (known + others[map], needs[map]);
        room(&*tables.frontends4, fits(0, frontends4))?;
        room(&*tables.frontends6, fits(1, frontends6))?;
        room(&*tables.backends4, fits(2, image.pool4.len()))?;
        room(&*tables.backends6, fits(3, image.pool6.len()))?;
        room(&*tables.slots, fits(4, image.slot_count()))?;
        room(&*tables.members, fits(5, image.members.len()))?;
        room(&*tables.sources4, fits(6, sources4))?;
        room(&*tables.sources6, fits(7, sources6))
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

fn room<K, V>(table: &dyn Table<K, V>, (used, needed): (usize, usize)) -> Result<(), ServiceError>
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
pub(super) fn share_text(owner: &Owner, snapshot: &Snapshot) -> Owner {
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
