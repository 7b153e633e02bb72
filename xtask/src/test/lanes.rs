//! Runs jobs in lanes, side by side: as many as this machine has processors, and one more for what has machines of its own, which then
//! helps the others. More of them starve the emulated machines, whose tests then wait in vain; and at last, one after the other, what needs the machine to itself. A test that failed beside others is run again by itself, and that counts:
//! tests are written for a machine of their own, and lanes only save time. It is told all the same.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::{
    cargo,
    layers::{self, Job, Place},
};
use crate::{
    arch::Arch,
    count::Count,
    kernels::{self, Ran, Which},
    say,
    told::Told,
};

/// What a job came to.
pub(super) struct Outcome {
    pub(super) job: Job,
    pub(super) told: Told,
    /// What of that each kernel said, of the job that runs elsewhere.
    kernels: Vec<Ran>,
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
        let mut here: Vec<Job> = here.cloned().collect();
        // What takes longest begins.
        here.sort_by_key(|job| *job != Job::Kernels);
        Mutex::new(here.into())
    };
    let (lanes, apart) = (of(Place::Lane), of(Place::Apart));
    let mut outcomes = thread::scope(|scope| {
        let mut all = vec![scope.spawn(|| {
            let mut outcomes = lane(&apart, with)?;
            outcomes.extend(lane(&lanes, with)?);
            Ok(outcomes)
        })];
        let processors = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..processors {
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
    let Outcome {
        job, told, kernels, ..
    } = outcome;
    if told.count.failed == 0 || job.place() == Place::Alone {
        return Ok(None);
    }
    let say = || say::line(format!("== {}: again, by itself", job.name()));
    if *job == Job::Kernels {
        // A kernel that was not had or did not boot was tried more than once.
        return Ok(told
            .names_all()
            .then(say)
            .map(|()| on_kernels_again(kernels, with)));
    }
    let failed: &[String] = if told.names_all() { &told.failed } else { &[] };
    let Some(command) = job.again(failed, with.long) else {
        return Ok(None);
    };
    say();
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
    let (told, kernels) = match job.command(with.filter, with.long) {
        Some(command) => (cargo::run(command, job.name())?, Vec::new()),
        None => on_kernels(with),
    };
    let time = started.elapsed();
    let (name, count) = (job.name(), told.count);
    say::line(format!("== {name}: {count} in {}", say::span(time)));
    Ok(Outcome {
        job,
        told,
        kernels,
        time,
        again: None,
    })
}

/// A kernel that cannot be had or does not boot is a failed test, not the end of the run.
fn on_kernels(with: With<'_>) -> (Told, Vec<Ran>) {
    let (mut all, mut ran) = (Told::default(), Vec::new());
    for arch in layers::architectures(with.long) {
        let which = with.filter.map_or(Which::All, Which::Like);
        match on_kernels_of(*arch, None, which, with.long) {
            Ok(of_arch) => ran.extend(of_arch),
            Err(told) => all.extend([told]),
        }
    }
    for Ran { told, .. } in &ran {
        all.extend([told.clone()]);
    }
    (all, ran)
}

/// Each kernel's failed tests, one kernel after the other.
fn on_kernels_again(ran: &[Ran], with: With<'_>) -> Told {
    let mut all = Told::default();
    for Ran { series, arch, told } in ran.iter().filter(|ran| ran.told.count.failed > 0) {
        let which = Which::Named(&told.failed);
        match on_kernels_of(*arch, Some(series), which, with.long) {
            Ok(again) => all.extend(again.into_iter().map(|ran| ran.told)),
            Err(told) => all.extend([told]),
        }
    }
    all
}

fn on_kernels_of(
    arch: Arch,
    only: Option<&str>,
    which: Which<'_>,
    long: bool,
) -> Result<Vec<Ran>, Told> {
    let wanted = kernels::Wanted {
        arch,
        only,
        which,
        long,
    };
    kernels::tests(wanted).map_err(|error| {
        say::error(&error);
        Told::failure(format!("kernels| {error:#}"))
    })
}
