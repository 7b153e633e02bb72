//! Runs jobs in lanes, side by side: as many as this machine has processors, one more for what mostly waits, which then helps
//! the others, and at last, one after the other, what needs the machine to itself. A test that failed beside others is run again by itself, and that counts:
//! tests are written for a machine of their own, and lanes only save time. It is told all the same.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::{
    cargo::{self, Told},
    layers::{self, Job, Place},
};
use crate::{arch::Arch, count::Count, kernels, say};

/// What a job came to.
pub(super) struct Outcome {
    pub(super) job: Job,
    pub(super) told: Told,
    pub(super) time: Duration,
    /// Tests that failed beside others, and what came of them alone.
    pub(super) again: Option<Told>,
}

impl Outcome {
    /// What counts.
    pub(super) fn count(&self) -> Count {
        let Count { passed, failed } = self.told.count;
        if !self.is_unsteady() {
            return self.told.count;
        }
        Count {
            passed: passed + failed,
            failed: 0,
        }
    }

    /// Whether tests failed beside others, and only then.
    pub(super) fn is_unsteady(&self) -> bool {
        let failed = self.told.count.failed;
        let again = self.again.as_ref().map(|told| told.count);
        again.is_some_and(|again| again.failed == 0 && again.passed >= failed)
    }
}

/// Jobs that wait for a lane.
type Queue = Mutex<VecDeque<Job>>;

/// What each job runs with.
#[derive(Clone, Copy)]
struct With<'a> {
    filter: Option<&'a str>,
    long: bool,
}

/// Runs all jobs; the outcomes in the order in which they ended.
pub(super) fn run(jobs: &[Job], filter: Option<&str>, long: bool) -> Result<Vec<Outcome>> {
    let with = With { filter, long };
    let of = |place: Place| -> Queue {
        let here = jobs.iter().filter(|job| job.place() == place);
        Mutex::new(here.cloned().collect())
    };
    let (lanes, apart) = (of(Place::Lane), of(Place::Apart));
    let mut outcomes = thread::scope(|scope| {
        let mut all = vec![scope.spawn(|| {
            let mut outcomes = lane(&apart, with)?;
            // Worlds wait for half of their time.
            outcomes.extend(lane(&lanes, with)?);
            Ok(outcomes)
        })];
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            all.push(scope.spawn(|| lane(&lanes, with)));
        }
        let mut outcomes = Vec::new();
        for lane in all {
            let done = lane.join();
            outcomes.extend(done.map_err(|_panic| anyhow!("a lane of tests panicked"))??);
        }
        Ok::<_, anyhow::Error>(outcomes)
    })?;
    outcomes.extend(lane(&of(Place::Alone), with)?);
    for outcome in &mut outcomes {
        outcome.again = again(outcome, with)?;
    }
    Ok(outcomes)
}

fn again(outcome: &Outcome, with: With<'_>) -> Result<Option<Told>> {
    let Outcome { job, told, .. } = outcome;
    if told.count.failed == 0 || job.place() == Place::Alone {
        return Ok(None);
    }
    let is_known = told.failed.len() == told.count.failed;
    let failed: &[String] = if is_known { &told.failed } else { &[] };
    let Some(command) = job.again(failed, with.long) else {
        return Ok(None);
    };
    say::line(format!("== {}: again, by itself", job.name()));
    cargo::run(command, job.name()).map(Some)
}

/// Takes jobs from a queue until there are no more.
fn lane(queue: &Queue, with: With<'_>) -> Result<Vec<Outcome>> {
    let next = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    };
    let mut outcomes = Vec::new();
    while let Some(job) = next() {
        outcomes.push(one(job, with)?);
    }
    Ok(outcomes)
}

fn one(job: Job, with: With<'_>) -> Result<Outcome> {
    let started = Instant::now();
    let told = match job.command(with.filter, with.long) {
        Some(command) => cargo::run(command, job.name())?,
        None => on_kernels(with),
    };
    let time = started.elapsed();
    let (name, count) = (job.name(), told.count);
    say::line(format!("== {name}: {count} in {}", say::span(time)));
    Ok(Outcome {
        job,
        told,
        time,
        again: None,
    })
}

/// A kernel that cannot be had or does not boot is a failed test, not the end of the run.
fn on_kernels(with: With<'_>) -> Told {
    let mut failures = Vec::new();
    let mut on = |arch: &Arch| {
        let wanted = kernels::Wanted {
            arch: *arch,
            only: None,
            filter: with.filter,
            long: with.long,
        };
        kernels::count(wanted).unwrap_or_else(|error| {
            say::error(&error);
            failures.push(format!("kernels| {error:#}"));
            Count::FAILURE
        })
    };
    let count = layers::architectures(with.long).iter().map(&mut on).sum();
    Told {
        count,
        failures,
        failed: Vec::new(),
    }
}
