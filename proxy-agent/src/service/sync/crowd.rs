//! Many who are brought in step at once: their plans are made one after the other, each beside what those before it have
//! chosen, and carried out together, phase by phase and many entries at a time. Each keeps its own order of writes, and fails
//! by itself. Whoever takes something from somebody, or gives something up, is brought in step alone.
//!
//! Where there are several crowds, each is planned while the one before it is written (see [`writer`]).

mod write;
mod writer;

use std::{io, thread, time::Instant};

use super::{
    Ids, ServiceSync,
    apply::{Planned, share_text},
    draft::{Draft, Needs},
};
use crate::{
    datapath::table::TableError,
    model::{Snapshot, Stamp},
    service::{
        Owner, SyncReport,
        plan::{Plan, Step},
    },
};
use write::PlanTables;
use writer::Writer;

/// How many at most: what they write is held in memory until then. Tests have many crowds of few.
const CROWD: usize = if cfg!(test) { 5 } else { 512 };
/// Fewer are not worth it.
const FEW: usize = if cfg!(test) { 3 } else { 8 };

/// One of them.
struct Member {
    owner: Owner,
    stamp: Stamp,
    planned: Planned,
    /// Entries that are written, map by map as in [`Needs`].
    written: Needs,
    error: Option<TableError>,
}

/// Those whose plans are made, and the last ids that they took.
#[derive(Default)]
struct Crowd {
    members: Vec<Member>,
    ids: Ids,
}

/// Who does not join a crowd; with the plan if that was made beside nobody.
struct Alone {
    owner: Owner,
    stamp: Stamp,
    planned: Option<(Planned, Ids)>,
}

impl ServiceSync {
    /// Brings those in step who wait, in their order: a pod that has to give way to a Service is marked by it.
    pub(super) fn bring_all(&mut self, snapshot: &Snapshot, report: &mut SyncReport) {
        if self.pending.len() > CROWD
            && let Err(error) = self.bring_crowds(snapshot, report)
        {
            tracing::warn!(%error, "cannot start the thread that writes Services: they are written by this one");
        }
        while self.pending.len() >= FEW {
            let mut draft = Draft::after(self.ids);
            let (mut crowd, alone) = self.gather(snapshot, &mut draft);
            self.announce_all(&crowd);
            PlanTables::of(&self.tables).write(&mut crowd.members);
            self.settle_all(crowd, snapshot, report);
            self.bring_alone(alone, snapshot, report);
        }
        while let Some((owner, stamp)) = self.pending.pop_first() {
            self.bring(&owner, stamp, snapshot, report);
        }
    }

    /// Brings crowds in step, each planned while the one before it is written. Nobody else writes these maps meanwhile.
    fn bring_crowds(&mut self, snapshot: &Snapshot, report: &mut SyncReport) -> io::Result<()> {
        let tables = PlanTables::of(&self.tables);
        thread::scope(|scope| {
            let mut writer = Writer::start(scope, tables)?;
            let mut draft = Draft::after(self.ids);
            while self.pending.len() >= FEW {
                draft.follow();
                let (crowd, alone) = self.gather(snapshot, &mut draft);
                let former = writer.finish();
                self.announce_all(&crowd);
                writer.begin(crowd);
                self.settle_all(former, snapshot, report);
                if alone.is_some() {
                    self.settle_all(writer.finish(), snapshot, report);
                    self.bring_alone(alone, snapshot, report);
                    draft = Draft::after(self.ids);
                }
            }
            self.settle_all(writer.finish(), snapshot, report);
            Ok(())
        })
    }

    /// Plans for as many as may be brought in step together, and takes who may not after them.
    fn gather(&mut self, snapshot: &Snapshot, draft: &mut Draft) -> (Crowd, Option<Alone>) {
        let mut members = Vec::with_capacity(self.pending.len().min(CROWD));
        let mut alone = None;
        while members.len() < CROWD
            && let Some((owner, stamp)) = self.pending.pop_first()
        {
            let owner = share_text(&owner, snapshot);
            let beside_nobody = draft.is_empty();
            let planned = self.plan(&owner, snapshot, draft);
            if !self.joins(draft, &planned) {
                // Beside others its plan may be another one than alone.
                let planned = beside_nobody.then_some((planned, draft.ids));
                alone = Some(Alone {
                    owner,
                    stamp,
                    planned,
                });
                break;
            }
            members.push(Member {
                owner,
                stamp,
                planned,
                written: Needs::default(),
                error: None,
            });
        }
        let ids = draft.ids;
        (Crowd { members, ids }, alone)
    }

    /// Whether a plan may be carried out together with those that were drafted before.
    fn joins(&self, draft: &mut Draft, planned: &Planned) -> bool {
        let fits = self.check_room(&planned.needs, &draft.needs()).is_ok();
        fits && planned.only_adds() && draft.add(&planned.resolved.plan, &planned.needs)
    }

    fn announce_all(&mut self, crowd: &Crowd) {
        for member in &crowd.members {
            for step in member.planned.resolved.plan.steps() {
                self.announce(step);
            }
        }
    }

    /// Takes over what was written of a crowd.
    fn settle_all(&mut self, crowd: Crowd, snapshot: &Snapshot, report: &mut SyncReport) {
        let Crowd { members, ids } = crowd;
        let now = Instant::now();
        for member in members {
            self.note_member(&member, now, report);
            let Member {
                owner,
                stamp,
                planned,
                written,
                error,
            } = member;
            let stamp = self.merge(&owner, stamp);
            let written = written.iter().sum::<usize>();
            let outcome = (written, error.map_or(Ok(()), Err));
            let settled = self.settle(&owner, planned, outcome, (ids, snapshot));
            self.judge(owner, stamp, settled, (written > 0, report));
        }
    }

    fn bring_alone(&mut self, alone: Option<Alone>, snapshot: &Snapshot, report: &mut SyncReport) {
        let Some(alone) = alone else {
            return;
        };
        let Alone {
            owner,
            stamp,
            planned,
        } = alone;
        match planned {
            None => self.bring(&owner, stamp, snapshot, report),
            Some(planned) => self.bring_planned(owner, stamp, planned, (snapshot, report)),
        }
    }

    /// Notes what was written of one plan, in its order: all of it, but for one that failed.
    fn note_member(&mut self, member: &Member, now: Instant, report: &mut SyncReport) {
        let plan = &member.planned.resolved.plan;
        let mut left = member.written;
        let first = [&plan.backends, &plan.appends, &plan.members];
        let whole = first
            .map(|phase| self.note_phase(phase, &mut left, now, report))
            .iter()
            .all(|whole| *whole);
        if !whole {
            return;
        }
        for kept in &plan.keeps {
            self.image.keep_members(kept, now);
        }
        for step in &plan.raises {
            self.note(step, now, report);
        }
        for phase in [&plan.sources, &plan.frontends] {
            self.note_phase(phase, &mut left, now, report);
        }
    }

    /// Notes as much of a phase as is written, slots of a set that follow each other in one; whether that is all of it.
    fn note_phase(
        &mut self,
        phase: &[Step],
        left: &mut Needs,
        now: Instant,
        report: &mut SyncReport,
    ) -> bool {
        let mut whole = true;
        for run in phase.chunk_by(follows) {
            let Some((first, map)) = run.first().and_then(|step| Some((step, step.map()?))) else {
                continue;
            };
            let written = run.len().min(left[map]);
            left[map] -= written;
            whole &= written == run.len();
            match first {
                _ if written == 0 => {}
                Step::Slot(key, _) => {
                    let ids = run[..written].iter().filter_map(write::slot);
                    let ids: Vec<u32> = ids.map(|(_, id)| id).collect();
                    self.note_slots(*key, &ids, now, report);
                }
                _ => self.note(first, now, report),
            }
        }
        whole
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
