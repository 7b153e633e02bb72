//! Drift detection: comparisons of the maps with what was written: of everything (`sync.fullPeriod`), and in between of the maps alone,
//! of each subject so often that what somebody changed is put back within ten seconds for as long as that costs next to nothing.
//! One with many entries does not hold up the others.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep_until};

use crate::subject::{Depth, Verified};

/// Entries that a turn compares, beside which a change does not wait long.
pub(super) const BUDGET: usize = 1024;
/// When a comparison that failed begins anew.
const AGAIN: Duration = Duration::from_secs(5);
/// Between two pieces of a comparison, at the least.
const REST: Duration = Duration::from_millis(1);
/// And so often as long as a piece took: a comparison that is always under way costs a quarter of a processor, and few changes
/// come while it has the thread.
const RESTS: u32 = 3;
/// Between the beginnings of two comparisons of a subject's maps alone, at the least.
const LOOKS: Duration = Duration::from_secs(5);
/// And so often as long as the last one had a processor: a fifth of a hundredth of one. Debug builds take ten times as long.
const SHARE: u32 = if cfg!(debug_assertions) { 50 } else { 500 };

/// A comparison that is under way.
struct Running {
    depth: Depth,
    began: Instant,
    /// Time of a processor that it had.
    cost: Duration,
    /// Which subject is compared.
    subject: usize,
    /// The first that is not.
    end: usize,
    /// Entries that differed.
    drift: usize,
    /// That could not be told of all, or they could not all be set right.
    failed: bool,
    /// When to go on.
    next: Instant,
}

/// Comparisons of the maps alone of a subject.
#[derive(Clone, Copy, Debug)]
struct Look {
    due: Instant,
    /// Time of a processor that the last one had.
    cost: Duration,
}

impl Look {
    /// How long to wait until the next.
    fn pause(&self) -> Duration {
        LOOKS.max(self.cost * SHARE)
    }
}

/// What a comparison of everything found.
pub(super) struct Found {
    /// When it began.
    pub(super) began: Instant,
    /// Entries that differed since the last one ended.
    pub(super) drift: usize,
}

/// Which comparisons are under way or due.
pub(super) struct Comparisons {
    running: Option<Running>,
    /// When the maps alone of each subject are compared next; none, where everything is as often.
    maps: Vec<Look>,
    subjects: usize,
    /// Everything is to be compared once the running one has ended.
    whole: bool,
    /// Entries that differed since everything was compared.
    drift: usize,
}

/// A piece that is to be compared.
pub(super) struct Piece {
    /// How deep.
    pub(super) depth: Depth,
    /// Of which subject.
    pub(super) subject: usize,
    began: Duration,
}

impl Running {
    const fn at(depth: Depth, begin: Instant, (subject, end): (usize, usize)) -> Self {
        Self {
            depth,
            began: begin,
            cost: Duration::ZERO,
            subject,
            end,
            drift: 0,
            failed: false,
            next: begin,
        }
    }

    fn note(&mut self, verified: Verified, took: Duration) {
        self.cost += took;
        self.next = Instant::now() + REST.max(took * RESTS);
        let (drift, done, failed) = match verified {
            Verified::More(drift) => (drift, false, false),
            Verified::Done(drift) => (drift, true, false),
            Verified::Failed(drift) => (drift, true, true),
        };
        self.drift += drift;
        self.failed |= failed;
        self.subject += usize::from(done);
    }
}

impl Comparisons {
    /// Of so many subjects, where everything is compared once in a period.
    pub(super) fn every(period: Duration, subjects: usize) -> Self {
        let looks = if period > LOOKS { subjects } else { 0 };
        let first = Look {
            due: Instant::now() + LOOKS,
            cost: Duration::ZERO,
        };
        Self {
            running: None,
            maps: vec![first; looks],
            subjects,
            whole: false,
            drift: 0,
        }
    }

    /// Has everything compared, unless that is under way.
    pub(super) fn begin_whole(&mut self) {
        match &self.running {
            None => self.compare_whole(Instant::now()),
            Some(running) => self.whole = running.depth == Depth::Maps,
        }
    }

    fn compare_whole(&mut self, begin: Instant) {
        self.running = Some(Running::at(Depth::Whole, begin, (0, self.subjects)));
    }

    /// The subject whose maps are compared next, and when.
    fn next(&self) -> Option<(usize, Instant)> {
        let looks = self.maps.iter().map(|look| look.due).enumerate();
        looks.min_by_key(|(_, due)| *due)
    }

    /// Returns when a piece is due.
    pub(super) async fn due(&self) {
        let running = self.running.as_ref().map(|one| one.next);
        match running.or_else(|| self.next().map(|(_, due)| due)) {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// The piece that is due, if there is one.
    pub(super) fn piece(&mut self) -> Option<Piece> {
        let now = Instant::now();
        let next = self.next().filter(|(_, due)| *due <= now);
        if let (None, Some((subject, _))) = (&self.running, next) {
            self.running = Some(Running::at(Depth::Maps, now, (subject, subject + 1)));
        }
        let running = self.running.as_ref()?;
        Some(Piece {
            depth: running.depth,
            subject: running.subject,
            began: processor_time(),
        })
    }

    /// What came of a piece; of everything, if that was its last.
    pub(super) fn note(&mut self, piece: &Piece, verified: Verified) -> Option<Found> {
        let running = self.running.as_mut()?;
        running.note(verified, processor_time().saturating_sub(piece.began));
        if running.subject < running.end {
            return None;
        }
        let ended = self.running.take()?;
        self.drift += ended.drift;
        self.after(&ended);
        let told = ended.depth == Depth::Whole && !ended.failed;
        told.then(|| Found {
            began: ended.began,
            drift: std::mem::take(&mut self.drift),
        })
    }

    /// What comes after a comparison.
    fn after(&mut self, ended: &Running) {
        let now = Instant::now();
        let (depth, cost, took) = (ended.depth, ended.cost, ended.began.elapsed());
        let subject = ended.end - 1;
        tracing::debug!(
            ?depth,
            subject,
            ?cost,
            ?took,
            drift = ended.drift,
            "maps compared"
        );
        match ended.depth {
            Depth::Maps => {
                if let Some(look) = self.maps.get_mut(subject) {
                    look.cost = cost;
                    look.due = ended.began + look.pause();
                }
            }
            // Maps were compared as well.
            Depth::Whole => self
                .maps
                .iter_mut()
                .for_each(|look| look.due = now + look.pause()),
        }
        let failed = ended.depth == Depth::Whole && ended.failed;
        if failed {
            self.compare_whole(now + AGAIN);
        } else if std::mem::take(&mut self.whole) {
            self.compare_whole(now);
        }
    }
}

/// What this thread has had of processors. It is no harm where the kernel does not tell.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(comparisons: &mut Comparisons, found: usize) -> (Depth, Option<usize>) {
        let piece = comparisons.piece().unwrap();
        let more = comparisons.note(&piece, Verified::More(found));
        assert!(more.is_none());
        let piece = comparisons.piece().unwrap();
        let done = comparisons.note(&piece, Verified::Done(0));
        (piece.depth, done.map(|found| found.drift))
    }

    #[tokio::test(start_paused = true)]
    async fn maps_are_compared_between_two_full_comparisons() {
        let mut comparisons = Comparisons::every(Duration::from_mins(1), 1);
        assert!(comparisons.piece().is_none());
        comparisons.due().await;
        assert_eq!(run(&mut comparisons, 2), (Depth::Maps, None));
        comparisons.due().await;
        // It is time for everything in the middle of one.
        let piece = comparisons.piece().unwrap();
        comparisons.begin_whole();
        assert_eq!(piece.depth, Depth::Maps);
        assert!(comparisons.note(&piece, Verified::Done(1)).is_none());
        assert_eq!(run(&mut comparisons, 4), (Depth::Whole, Some(7)));
        comparisons.begin_whole();
        assert_eq!(run(&mut comparisons, 0), (Depth::Whole, Some(0)));
    }

    /// Has the maps of a subject compared, at such a cost; gives how long after its beginning the next is due.
    fn cost(comparisons: &mut Comparisons, subject: usize, cost: Duration) -> Duration {
        let now = Instant::now();
        let mut ended = Running::at(Depth::Maps, now, (subject, subject + 1));
        ended.cost = cost;
        comparisons.after(&ended);
        comparisons.maps[subject].due - now
    }

    #[tokio::test(start_paused = true)]
    async fn what_costs_more_is_done_more_seldom() {
        let mut comparisons = Comparisons::every(Duration::from_mins(1), 1);
        let usual = LOOKS / SHARE;
        assert_eq!(cost(&mut comparisons, 0, usual / 2), LOOKS);
        assert_eq!(cost(&mut comparisons, 0, usual * 2), LOOKS * 2);
        assert_eq!(cost(&mut comparisons, 0, usual * 20), LOOKS * 20);
    }

    /// With a subject that costs so much that everything is compared more often: its maps alone are not compared in between, and
    /// those of the others are, as often as ever.
    #[tokio::test(start_paused = true)]
    async fn a_subject_with_many_entries_holds_up_no_other() {
        let mut comparisons = Comparisons::every(Duration::from_mins(1), 3);
        cost(&mut comparisons, 1, LOOKS * 20 / SHARE);
        let mut compared = [0; 3];
        for _ in 0..3 {
            comparisons.begin_whole();
            while let Some(piece) = comparisons.piece() {
                comparisons.note(&piece, Verified::Done(0));
            }
            let end = Instant::now() + Duration::from_mins(1);
            while Instant::now() < end {
                comparisons.due().await;
                let piece = comparisons.piece().unwrap();
                assert_eq!(piece.depth, Depth::Maps);
                compared[piece.subject] += 1;
                comparisons.note(&piece, Verified::Done(0));
            }
        }
        assert_eq!(compared[1], 0);
        assert!(compared[0] >= 30 && compared[2] >= 30, "{compared:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_compared_anew() {
        let mut comparisons = Comparisons::every(Duration::from_secs(1), 1);
        comparisons.begin_whole();
        let piece = comparisons.piece().unwrap();
        assert!(comparisons.note(&piece, Verified::Failed(2)).is_none());
        comparisons.due().await;
        assert_eq!(run(&mut comparisons, 1), (Depth::Whole, Some(3)));
        assert!(comparisons.maps.is_empty(), "everything is as often");
    }
}
