//! Drift detection, piece by piece: the maps against what was written to them, whoever changed them, and then what was
//! written against what Services want. And the removal of what nobody wants.

use std::{
    collections::HashSet,
    fmt::Debug,
    ops::{Bound, Deref},
    time::Instant,
};

use proxy_common::{
    address::{Address4, Address6},
    backends::{MemberKey, SlotKey},
    frontends::{FrontendKey4, FrontendKey6},
    maglev::MaglevKey,
    sources::{SourceKey4, SourceKey6},
};

use super::{Port, ServiceSync, lacking};
use crate::{
    datapath::{
        Table, TableError,
        mirror::{Sweep, Written, put},
        prefix::Prefix,
    },
    model::{ObjectName, Snapshot, Stamp},
    service::{
        Owner, SyncReport,
        image::{Image, written::Slots},
        maglev::tables::Sums,
        plan::Step,
        sources::{Sources4, Sources6},
    },
};

/// Planning a Service takes about as long as comparing so many entries.
const ENTRIES_OF_A_SERVICE: usize = 16;

/// A comparison that is under way.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    stage: Stage,
    backends4: Sweep<u32>,
    backends6: Sweep<u32>,
    slots: Sweep<SlotKey>,
    members: Sweep<MemberKey>,
    maglev: Sweep<MaglevKey>,
    sources4: Sweep<Prefix<SourceKey4>>,
    sources6: Sweep<Prefix<SourceKey6>>,
    frontends4: Sweep<FrontendKey4>,
    frontends6: Sweep<FrontendKey6>,
    vips4: Sweep<Address4>,
    vips6: Sweep<Address6>,
}

/// What is compared next. What is led to comes before what leads there.
#[derive(Clone, Debug, Default)]
enum Stage {
    #[default]
    Backends4,
    Backends6,
    Slots,
    Members,
    Maglev,
    Sources4,
    Sources6,
    Frontends4,
    Frontends6,
    Vips4,
    Vips6,
    /// What Services want, after this one.
    Services(Option<ObjectName>),
    /// Whoever has ports and may not want them any more, after this one.
    Owners(Option<Owner>),
}

impl ServiceSync {
    /// Compares about `budget` entries more, and sets right what differs; true if those were the last. Only for some
    /// pieces the snapshot is read, by `read`: no longer than planning so much takes. After an error it begins anew.
    pub fn verify<S: Deref<Target = Snapshot>>(
        &mut self,
        read: impl FnOnce() -> S,
        budget: usize,
        report: &mut SyncReport,
    ) -> Result<bool, TableError> {
        self.piece(report, |sync, comparison, report| match &comparison.stage {
            Stage::Services(last) => Ok(sync.plan_services(&read(), last.as_ref(), budget, report)),
            Stage::Owners(last) => Ok(sync.plan_owners(&read(), last.as_ref(), budget, report)),
            _ => sync.compare(comparison, budget, report),
        })
    }

    /// The same with the maps alone: nothing is planned anew.
    pub fn verify_maps(
        &mut self,
        budget: usize,
        report: &mut SyncReport,
    ) -> Result<bool, TableError> {
        self.piece(report, |sync, comparison, report| {
            let next = sync.compare(comparison, budget, report)?;
            Ok(next.filter(|next| !matches!(next, Stage::Services(_) | Stage::Owners(_))))
        })
    }

    /// A piece of the comparison, which tells what comes next; true if nothing does.
    fn piece(
        &mut self,
        report: &mut SyncReport,
        compare: impl FnOnce(
            &mut Self,
            &mut Comparison,
            &mut SyncReport,
        ) -> Result<Option<Stage>, TableError>,
    ) -> Result<bool, TableError> {
        if !self.started {
            return Ok(true);
        }
        let mut comparison = std::mem::take(&mut self.comparison);
        let drift = report.drift;
        let next = compare(self, &mut comparison, report)?;
        if report.drift > drift {
            self.after.disturbed();
            self.freed = true;
        }
        let done = next.is_none();
        comparison.stage = next.unwrap_or_default();
        self.comparison = comparison;
        Ok(done)
    }

    fn compare(
        &mut self,
        comparison: &mut Comparison,
        budget: usize,
        report: &mut SyncReport,
    ) -> Result<Option<Stage>, TableError> {
        let (tables, image) = (&mut self.tables, &self.image);
        let drift = &mut report.drift;
        let stage = comparison.stage.clone();
        let (done, then) = match &stage {
            Stage::Backends4 => {
                let (sweep, table) = (&mut comparison.backends4, &mut *tables.backends4);
                let done = restore(sweep, table, &image.pool4, budget, drift)?;
                (done, Stage::Backends6)
            }
            Stage::Backends6 => {
                let (sweep, table) = (&mut comparison.backends6, &mut *tables.backends6);
                let done = restore(sweep, table, &image.pool6, budget, drift)?;
                (done, Stage::Slots)
            }
            Stage::Slots => {
                let (sweep, table) = (&mut comparison.slots, &mut *tables.slots);
                let done = restore(sweep, table, &Slots(image), budget, drift)?;
                (done, Stage::Members)
            }
            Stage::Members => {
                let (sweep, table) = (&mut comparison.members, &mut *tables.members);
                let done = restore(sweep, table, &image.members, budget, drift)?;
                (done, Stage::Maglev)
            }
            Stage::Maglev => return self.compare_tables(comparison, budget, report).map(Some),
            Stage::Sources4 => {
                let (sweep, table) = (&mut comparison.sources4, &mut *tables.sources4);
                let done = restore(sweep, table, &Sources4(&image.sources), budget, drift)?;
                (done, Stage::Sources6)
            }
            Stage::Sources6 => {
                let (sweep, table) = (&mut comparison.sources6, &mut *tables.sources6);
                let done = restore(sweep, table, &Sources6(&image.sources), budget, drift)?;
                (done, Stage::Frontends4)
            }
            Stage::Frontends4 => {
                let (sweep, table) = (&mut comparison.frontends4, &mut *tables.frontends4);
                let done = restore(sweep, table, &image.frontends4, budget, drift)?;
                (done, Stage::Frontends6)
            }
            Stage::Frontends6 => {
                let (sweep, table) = (&mut comparison.frontends6, &mut *tables.frontends6);
                let done = restore(sweep, table, &image.frontends6, budget, drift)?;
                self.node_ports.state(&mut *tables.node_ports);
                (done, Stage::Vips4)
            }
            Stage::Vips4 => {
                let (sweep, table) = (&mut comparison.vips4, &mut *tables.vips4);
                let done = restore(sweep, table, &image.vips.v4, budget, drift)?;
                (done, Stage::Vips6)
            }
            Stage::Vips6 => {
                let (sweep, table) = (&mut comparison.vips6, &mut *tables.vips6);
                let done = restore(sweep, table, &image.vips.v6, budget, drift)?;
                (done, Stage::Services(None))
            }
            Stage::Services(_) | Stage::Owners(_) => (true, Stage::Services(None)),
        };
        Ok(Some(if done { then } else { stage }))
    }

    /// What is not as it was written is built anew, beside the main loop.
    fn compare_tables(
        &mut self,
        comparison: &mut Comparison,
        budget: usize,
        report: &mut SyncReport,
    ) -> Result<Stage, TableError> {
        let map = Sums(&mut *self.tables.maglev);
        let piece = comparison.maglev.next(&map, &self.image.maglev, budget)?;
        report.drift += piece.drift.len();
        for (key, wanted) in piece.drift {
            match wanted {
                Some(_) => self.mend_table((key.set, key.size)),
                None => self.tables.maglev.remove(&key)?,
            }
        }
        if !piece.done {
            return Ok(Stage::Maglev);
        }
        self.look_at_tables();
        Ok(Stage::Sources4)
    }

    fn plan_services(
        &mut self,
        snapshot: &Snapshot,
        last: Option<&ObjectName>,
        budget: usize,
        report: &mut SyncReport,
    ) -> Option<Stage> {
        if !lacking(snapshot).is_empty() {
            return None;
        }
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        let count = (budget / ENTRIES_OF_A_SERVICE).max(1);
        let names = snapshot.services.range((after, Bound::Unbounded));
        let names: Vec<&ObjectName> = names.map(|(name, _)| name).take(count).collect();
        for name in &names {
            self.mark(Owner::Service((*name).clone()), Stamp::now());
        }
        self.plan_marked(snapshot, report);
        let whole = names.len() < count;
        let last = names.last().map(|name| (*name).clone());
        Some(if whole {
            Stage::Owners(None)
        } else {
            Stage::Services(last)
        })
    }

    fn plan_owners(
        &mut self,
        snapshot: &Snapshot,
        last: Option<&Owner>,
        budget: usize,
        report: &mut SyncReport,
    ) -> Option<Stage> {
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        let owners = self.ports.range((after, Bound::Unbounded));
        let owners: Vec<Owner> = owners
            .map(|(owner, _)| owner.clone())
            .take(budget)
            .collect();
        let planned = |owner: &&Owner| match owner {
            Owner::Service(name) => snapshot.services.contains_key(name),
            Owner::Pod(_) => false,
        };
        for owner in owners.iter().filter(|owner| !planned(owner)) {
            self.mark(owner.clone(), Stamp::now());
        }
        self.plan_marked(snapshot, report);
        let whole = owners.len() < budget;
        (!whole).then(|| Stage::Owners(owners.last().cloned()))
    }

    fn plan_marked(&mut self, snapshot: &Snapshot, report: &mut SyncReport) {
        self.locate(snapshot);
        self.run(snapshot, report);
        self.tend_tables(report);
        self.finish(report);
    }

    /// Takes over what the maps hold.
    pub(super) fn adopt(&mut self, image: Image) {
        let [service, set, backend] = image.highest_ids();
        self.ids.service = self.ids.service.max(service);
        self.ids.set = self.ids.set.max(set);
        self.ids.backend = self.ids.backend.max(backend);
        let grace = self.image.grace();
        self.image = image;
        self.after.look_at(self.image.frontend_addresses());
        self.after.look_at(self.image.vips.addresses());
        self.image.set_grace(grace);
        self.node_ports
            .recount(&self.image, &mut *self.tables.node_ports);
    }

    pub(super) fn remove_stray(&mut self, stray: &[SlotKey]) -> Result<(), TableError> {
        stray
            .iter()
            .try_for_each(|key| self.tables.slots.remove(key))
    }

    /// Removes what belongs to no Service. Only called when all lists are complete.
    pub(super) fn prune(&mut self, report: &mut SyncReport) {
        let ports = || self.ports.values().flatten();
        let services: HashSet<u32> = ports().map(|p| p.service).collect();
        let sets: HashSet<u32> = ports().flat_map(Port::sets).collect();
        let frontends = self.image.frontends();
        let frontends = frontends.filter(|(_, f)| !services.contains(&f.service));
        let frontends = frontends.map(|(key, f)| Step::RemoveFrontend(key, f.service));
        let known = &self.image.sources;
        let stray = known.services().filter(|id| !services.contains(id));
        let stray = stray.flat_map(|id| known.of(id).copied());
        let removals: Vec<Step> = frontends.chain(stray.map(Step::RemoveSource)).collect();
        let mut whole = true;
        for step in removals {
            if let Err(error) = self.step(&step, report) {
                tracing::debug!(%error, "pruning goes on later");
                whole = false;
            }
        }
        // A frontend that could not be removed still uses its set.
        let used: HashSet<u32> = self
            .image
            .frontends()
            .flat_map(|(_, f)| [f.internal.id, f.external.id])
            .collect();
        let now = Instant::now();
        let all: Vec<u32> = self.image.sets().collect();
        for set in all {
            if !sets.contains(&set) && !used.contains(&set) {
                self.image.done(&Step::Drop(set), now);
                self.image.look_at_slots(set, now);
            } else if self.image.slots(set).len() > self.image.used(set) {
                self.image.look_at_slots(set, now);
            }
        }
        let members: Vec<_> = self.image.members.keys().copied().collect();
        for key in members {
            if !self.image.slots(key.set).contains(&key.backend) || !sets.contains(&key.set) {
                self.image.look_at_member(key, now);
            }
        }
        let pools = self
            .image
            .pool4
            .idle_ids()
            .chain(self.image.pool6.idle_ids());
        let backends: Vec<u32> = pools.collect();
        for id in backends {
            self.image.look_at_backend(id, now);
        }
        self.look_at_tables();
        self.pruned = whole;
    }
}

/// A piece of the comparison of one map: whether it was the last.
fn restore<K, V>(
    sweep: &mut Sweep<K>,
    table: &mut dyn Table<K, V>,
    written: &dyn Written<K, V>,
    budget: usize,
    drift: &mut usize,
) -> Result<bool, TableError>
where
    K: Copy + Ord + Debug,
    V: Copy + PartialEq + Debug,
{
    let piece = sweep.next(&*table, written, budget)?;
    *drift += piece.drift.len();
    for (key, wanted) in piece.drift {
        put(table, &key, wanted)?;
    }
    Ok(piece.done)
}
