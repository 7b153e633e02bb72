//! One turn: who is brought in step, in which order, and what becomes of those who are not.

use std::time::{Duration, Instant};

use super::{
    Failure, Ids, ServiceSync,
    apply::{Planned, share_text},
    draft::Draft,
};
use crate::{
    datapath::table::TableError,
    model::{Snapshot, Stamp},
    service::{
        Owner, SyncReport,
        report::{Programmed, ServiceError},
    },
    subject::Room,
};

/// After a failure that followed writes which succeeded.
pub(super) const BACKOFF_MIN: Duration = Duration::from_millis(1);
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(10);

impl ServiceSync {
    pub(super) fn run(&mut self, snapshot: &Snapshot, report: &mut SyncReport) {
        let now = Instant::now();
        let due = self.failed.iter().filter(|(_, f)| f.due <= now);
        let due: Vec<Owner> = due.map(|(owner, _)| owner.clone()).collect();
        for owner in due {
            self.pending.entry(owner).or_insert_with(Stamp::now);
        }
        let takers = self.takers(snapshot);
        self.awaited = takers.values().flatten().copied().collect();
        for owner in takers.into_keys() {
            // Who was refused for somebody's sake is asked again: that one may want it no more.
            let refused = self.failed.get(&owner).is_some_and(|f| f.taken);
            let stamp = self.pending.remove(&owner);
            if let Some(stamp) = stamp.or_else(|| refused.then(Stamp::now)) {
                self.bring(&owner, stamp, snapshot, report);
            }
        }
        self.bring_all(snapshot, report);
    }

    /// Brings one in step, or notes why it is not.
    pub(super) fn bring(
        &mut self,
        owner: &Owner,
        stamp: Stamp,
        snapshot: &Snapshot,
        report: &mut SyncReport,
    ) {
        let owner = share_text(owner, snapshot);
        let mut draft = Draft::after(self.ids);
        let planned = self.plan(&owner, snapshot, &mut draft);
        self.bring_planned(owner, stamp, (planned, draft.ids), (snapshot, report));
    }

    /// The same by a plan that took these ids.
    pub(super) fn bring_planned(
        &mut self,
        owner: Owner,
        stamp: Stamp,
        planned: (Planned, Ids),
        (snapshot, report): (&Snapshot, &mut SyncReport),
    ) {
        let stamp = self.merge(&owner, stamp);
        let writes = report.writes;
        let brought = self.sync_owner(&owner, planned, snapshot, report);
        let progress = report.writes > writes;
        self.judge(owner, stamp, brought, (progress, report));
    }

    /// What waits, with what waited before.
    pub(super) fn merge(&mut self, owner: &Owner, mut stamp: Stamp) -> Stamp {
        if let Some(failure) = self.failed.get_mut(owner) {
            stamp.merge(std::mem::replace(&mut failure.stamp, Stamp::now()));
        }
        stamp
    }

    /// Notes that one is in step, or why it is not.
    pub(super) fn judge(
        &mut self,
        owner: Owner,
        stamp: Stamp,
        brought: Result<(), ServiceError>,
        (progress, report): (bool, &mut SyncReport),
    ) {
        match brought {
            Ok(()) => self.in_step(&owner, stamp, report),
            Err(error) => {
                report.errors += usize::from(matches!(error, ServiceError::Table(_)));
                self.fail(owner, stamp, &error, progress);
            }
        }
    }

    fn in_step(&mut self, owner: &Owner, stamp: Stamp, report: &mut SyncReport) {
        self.failed.remove(owner);
        if let Owner::Pod(_) = owner {
            return;
        }
        report.synced += 1;
        // What was looked at for another reason is no change.
        if stamp.services + stamp.slices > 0 {
            report.programmed.push(Programmed {
                since_event: stamp.arrived.elapsed(),
                triggers: stamp.triggers,
            });
        }
    }

    fn fail(&mut self, owner: Owner, stamp: Stamp, error: &ServiceError, progress: bool) {
        let taken = matches!(error, ServiceError::Taken { .. });
        let broken = matches!(error, ServiceError::Table(TableError::Kernel { .. }));
        let room = error.room();
        let error = error.to_string();
        let known = self.failed.get(&owner);
        if known.is_none_or(|f| f.error != error) {
            let what = owner.in_words();
            let outcome = if taken {
                "in force but for what another one has"
            } else {
                "not programmed; what was in force before stays"
            };
            tracing::warn!(error, "{what}: {outcome}");
        }
        let attempts = known.filter(|_| !progress).map_or(0, |f| f.attempts);
        let backoff = BACKOFF_MIN.saturating_mul(1 << attempts.min(20));
        let now = Instant::now();
        let waits = known.filter(|f| f.room.is_some() && room.is_some());
        let failure = Failure {
            since: waits.map_or(now, |f| f.since),
            error,
            taken,
            broken,
            attempts: attempts + 1,
            due: now + backoff.min(BACKOFF_MAX),
            room,
            stamp,
        };
        self.failed.insert(owner, failure);
    }

    /// Adds up what found no room.
    pub fn waits_for_room(&self, room: &mut Room) {
        self.tables_wait_for_room(room);
        for (map, needed) in self
            .failed
            .values()
            .filter_map(|failure| failure.room.as_ref())
        {
            let sum = room.entry(map.clone()).or_default();
            *sum = sum.saturating_add(*needed);
        }
    }

    /// There may be room now.
    pub fn resized(&mut self) {
        self.tables_resized();
        for failure in self
            .failed
            .values_mut()
            .filter(|failure| failure.room.is_some())
        {
            failure.due = Instant::now();
        }
    }

    pub(super) fn finish(&mut self, report: &mut SyncReport) {
        self.collect(report);
        let follow_up = self.follow_up();
        if std::mem::take(&mut self.freed) {
            let now = Instant::now();
            for failure in self.failed.values_mut() {
                failure.due = failure.due.min(now + BACKOFF_MIN);
            }
        }
        let failed = self.failed.iter();
        report.failed = failed.map(|(n, f)| (n.clone(), f.error.clone())).collect();
        let due = self.failed.values().map(|f| f.due);
        let due = due.chain(self.image.next_removal()).chain(follow_up);
        let due = due.chain(self.tables_due()).min();
        report.again_after = due.map(|d| d.saturating_duration_since(Instant::now()));
    }
}
