//! Many who are brought in step at once: their plans are made one after the other, each beside what those before it have
//! chosen, and carried out together, phase by phase and many entries at a time. Each keeps its own order of writes, and fails
//! by itself. Whoever takes something from somebody, or gives something up, is brought in step alone.

use std::{fmt::Debug, time::Instant};

use proxy_common::{
    backends::{Backend4, Backend6, MemberKey, SlotKey},
    frontends::{Frontend, FrontendKey4, FrontendKey6},
    sources::{SOURCE_ALLOWED, SourceKey4, SourceKey6},
};

use super::{
    ServiceSync,
    apply::{Planned, share_text},
    draft::Draft,
};
use crate::{
    datapath::{
        prefix::Prefix,
        table::{Table, TableError},
    },
    model::{Snapshot, Stamp},
    service::{
        Owner, ServiceTables, SyncReport,
        key::FrontendKey,
        plan::{Plan, Step},
        sources::Source,
    },
};

/// How many at most: what they write is held in memory until then.
const CROWD: usize = 512;
/// Fewer are not worth it.
const FEW: usize = 8;

/// One of them.
struct Member {
    owner: Owner,
    stamp: Stamp,
    planned: Planned,
    /// Steps that are done.
    written: usize,
    error: Option<TableError>,
}

/// Those whose plans are made.
struct Crowd {
    draft: Draft,
    members: Vec<Member>,
}

impl ServiceSync {
    /// Brings those in step who wait, in their order: a pod that has to give way to a Service is marked by it.
    pub(super) fn bring_all(&mut self, snapshot: &Snapshot, report: &mut SyncReport) {
        while self.pending.len() >= FEW {
            self.bring_many(snapshot, report);
        }
        while let Some((owner, stamp)) = self.pending.pop_first() {
            self.bring(&owner, stamp, snapshot, report);
        }
    }

    fn bring_many(&mut self, snapshot: &Snapshot, report: &mut SyncReport) {
        let mut crowd = Crowd {
            draft: Draft::after(self.ids),
            members: Vec::new(),
        };
        let mut alone = None;
        while crowd.members.len() < CROWD
            && let Some((owner, stamp)) = self.pending.pop_first()
        {
            let owner = share_text(&owner, snapshot);
            let planned = self.plan(&owner, snapshot, &mut crowd.draft);
            if !self.joins(&mut crowd.draft, &planned) {
                // Beside others its plan may be another one than alone.
                let planned = crowd.members.is_empty().then_some(planned);
                alone = Some((owner, stamp, planned));
                break;
            }
            let member = Member {
                owner,
                stamp,
                planned,
                written: 0,
                error: None,
            };
            crowd.members.push(member);
        }
        let ids = crowd.draft.ids;
        self.carry_out_all(&mut crowd, report);
        self.settle_all(crowd, snapshot, report);
        match alone {
            None => {}
            Some((owner, stamp, None)) => self.bring(&owner, stamp, snapshot, report),
            Some((owner, stamp, Some(planned))) => {
                self.bring_planned(owner, stamp, (planned, ids), (snapshot, report));
            }
        }
    }

    /// Whether a plan may be carried out together with those that were drafted before.
    fn joins(&self, draft: &mut Draft, planned: &Planned) -> bool {
        let fits = self.check_room(&planned.needs, &draft.needs).is_ok();
        fits && planned.only_adds() && draft.add(&planned.resolved.plan, &planned.needs)
    }

    fn settle_all(&mut self, crowd: Crowd, snapshot: &Snapshot, report: &mut SyncReport) {
        let ids = crowd.draft.ids;
        for member in crowd.members {
            let Member {
                owner,
                stamp,
                planned,
                written,
                error,
            } = member;
            let stamp = self.merge(&owner, stamp);
            let outcome = (written, error.map_or(Ok(()), Err));
            let settled = self.settle(&owner, planned, outcome, (ids, snapshot));
            self.judge(owner, stamp, settled, (written > 0, report));
        }
    }

    /// Carries the plans out. Phases are as in a plan alone, so that each state on the way is a valid one for each of them.
    fn carry_out_all(&mut self, crowd: &mut Crowd, report: &mut SyncReport) {
        let members = &mut crowd.members;
        self.phase(members, |plan| &plan.backends, report);
        self.phase(members, |plan| &plan.appends, report);
        self.phase(members, |plan| &plan.members, report);
        let now = Instant::now();
        for member in members.iter_mut().filter(|member| member.error.is_none()) {
            for kept in &member.planned.resolved.plan.keeps {
                self.image.keep_members(kept, now);
            }
            for step in &member.planned.resolved.plan.raises {
                self.note(step, now, report);
                member.written += 1;
            }
        }
        self.phase(members, |plan| &plan.sources, report);
        self.phase(members, |plan| &plan.frontends, report);
    }

    /// Writes what one phase has for each map.
    fn phase(
        &mut self,
        members: &mut [Member],
        phase: impl Fn(&Plan) -> &[Step],
        report: &mut SyncReport,
    ) {
        let mut steps = Vec::new();
        for (index, member) in members.iter().enumerate() {
            let own = phase(&member.planned.resolved.plan);
            let own = own.iter().filter(|_| member.error.is_none());
            steps.extend(own.map(|step| (index, *step)));
        }
        let mut many = Many {
            sync: self,
            members,
            steps: &steps,
            report,
        };
        many.write(|t| &mut *t.backends4, backend4);
        many.write(|t| &mut *t.backends6, backend6);
        many.write(|t| &mut *t.slots, slot);
        many.write(|t| &mut *t.members, member);
        many.write(|t| &mut *t.sources4, source4);
        many.write(|t| &mut *t.sources6, source6);
        many.write(|t| &mut *t.frontends4, frontend4);
        many.write(|t| &mut *t.frontends6, frontend6);
    }
}

/// Steps of one phase, each with the number of the member whose it is.
struct Many<'a> {
    sync: &'a mut ServiceSync,
    members: &'a mut [Member],
    steps: &'a [(usize, Step)],
    report: &'a mut SyncReport,
}

impl Many<'_> {
    /// Writes those of one map. Whose write fails has no more of them done; the others go on.
    fn write<K, V>(
        &mut self,
        table: impl Fn(&mut ServiceTables) -> &mut dyn Table<K, V>,
        entry: impl Fn(&Step) -> Option<(K, V)>,
    ) where
        K: Copy + Ord + Debug,
        V: Copy + PartialEq + Debug,
    {
        let mut at = 0;
        while at < self.steps.len() {
            let going = |(index, _): &&(usize, Step)| self.members[*index].error.is_none();
            let (places, entries): (Vec<usize>, Vec<(K, V)>) = (at..)
                .zip(&self.steps[at..])
                .filter(|(_, step)| going(step))
                .filter_map(|(place, (_, step))| Some((place, entry(step)?)))
                .unzip();
            if entries.is_empty() {
                return;
            }
            for place in &places {
                self.sync.announce(&self.steps[*place].1);
            }
            let (written, result) = table(&mut self.sync.tables).set_all(&entries);
            self.note(&places[..written]);
            let (Err(error), Some(failed)) = (result, places.get(written)) else {
                return;
            };
            self.members[self.steps[*failed].0].error = Some(error);
            at = failed + 1;
        }
    }

    /// Notes those that are done: slots of a set that follow each other in one.
    fn note(&mut self, places: &[usize]) {
        let now = Instant::now();
        let steps = places.iter().map(|place| &self.steps[*place]);
        let steps: Vec<&(usize, Step)> = steps.collect();
        for run in steps.chunk_by(|(_, one), (_, next)| follows(one, next)) {
            let Some((index, first)) = run.first() else {
                continue;
            };
            self.members[*index].written += run.len();
            if let Step::Slot(key, _) = first {
                let ids: Vec<u32> = run
                    .iter()
                    .filter_map(|(_, step)| slot(step))
                    .map(|s| s.1)
                    .collect();
                self.sync.note_slots(*key, &ids, now, self.report);
            } else {
                self.sync.note(first, now, self.report);
            }
        }
    }
}

/// Whether a slot is that after another one of its set.
fn follows(one: &Step, next: &Step) -> bool {
    match (one, next) {
        (Step::Slot(one, _), Step::Slot(next, _)) => {
            one.set == next.set && one.index + 1 == next.index
        }
        _ => false,
    }
}

const fn backend4(step: &Step) -> Option<(u32, Backend4)> {
    match step {
        Step::Backend4(id, value) => Some((*id, *value)),
        _ => None,
    }
}

const fn backend6(step: &Step) -> Option<(u32, Backend6)> {
    match step {
        Step::Backend6(id, value) => Some((*id, *value)),
        _ => None,
    }
}

const fn slot(step: &Step) -> Option<(SlotKey, u32)> {
    match step {
        Step::Slot(key, id) => Some((*key, *id)),
        _ => None,
    }
}

const fn member(step: &Step) -> Option<(MemberKey, u32)> {
    match step {
        Step::Member(key, slot) => Some((*key, *slot)),
        _ => None,
    }
}

const fn source4(step: &Step) -> Option<(Prefix<SourceKey4>, u32)> {
    match step {
        Step::Source(Source::V4(key)) => Some((*key, SOURCE_ALLOWED)),
        _ => None,
    }
}

const fn source6(step: &Step) -> Option<(Prefix<SourceKey6>, u32)> {
    match step {
        Step::Source(Source::V6(key)) => Some((*key, SOURCE_ALLOWED)),
        _ => None,
    }
}

const fn frontend4(step: &Step) -> Option<(FrontendKey4, Frontend)> {
    match step {
        Step::Frontend(FrontendKey::V4(key), value) => Some((*key, *value)),
        _ => None,
    }
}

const fn frontend6(step: &Step) -> Option<(FrontendKey6, Frontend)> {
    match step {
        Step::Frontend(FrontendKey::V6(key), value) => Some((*key, *value)),
        _ => None,
    }
}
