//! The thread on which the node is kept up. It reads and writes files, speaks netlink and waits for the kernel's locks, all of
//! which may last; the main loop hands it one job at a time and takes what it found, both as values.

use std::{
    future, io,
    sync::mpsc as jobs,
    thread::{self, JoinHandle},
};

use tokio::sync::mpsc;

use super::{
    found::Found,
    upkeep::{Job, Upkeep},
};
use crate::watchdog::Work;

/// What came of a job: what was found, if it looked at anything.
type Outcome = Option<Found>;

/// The thread, as the main loop has it.
#[derive(Debug)]
pub(super) struct Worker {
    /// None: it is to end.
    jobs: Option<jobs::Sender<Job>>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
    /// One that has arrived and is still to be taken.
    outcome: Option<Outcome>,
    busy: bool,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Begins it, in the calling thread's namespaces. `work` watches over each job.
    pub(super) fn begin(mut upkeep: Upkeep, work: Work) -> io::Result<Self> {
        let (jobs, given) = jobs::channel();
        let (tell, outcomes) = mpsc::unbounded_channel();
        let thread = thread::Builder::new().name("node".to_owned());
        let thread = thread.spawn(move || {
            for job in given {
                let outcome = work.run(|| upkeep.carry_out(job));
                if tell.send(outcome).is_err() {
                    return; // Nobody wants to know any more.
                }
            }
        })?;
        Ok(Self {
            jobs: Some(jobs),
            outcomes,
            outcome: None,
            busy: false,
            thread: Some(thread),
        })
    }

    /// Whether a job is under way.
    pub(super) const fn is_busy(&self) -> bool {
        self.busy
    }

    /// Gives it a job. One that has panicked takes none: it stays at the one before, and the watchdog names it.
    pub(super) fn give(&mut self, job: Job) {
        self.busy = true;
        if let Some(jobs) = &self.jobs {
            jobs.send(job).unwrap_or_default();
        }
    }

    /// Returns when a job is done. May be dropped at any time.
    pub(super) async fn done(&mut self) {
        if self.outcome.is_some() {
            return;
        }
        self.outcome = self.outcomes.recv().await;
        if self.outcome.is_none() {
            future::pending::<()>().await;
        }
    }

    /// What came of the job, once.
    pub(super) fn take(&mut self) -> Option<Outcome> {
        let arrived = self.outcome.take();
        let outcome = arrived.or_else(|| self.outcomes.try_recv().ok())?;
        self.busy = false;
        Some(outcome)
    }
}

impl Drop for Worker {
    /// Waits for the job that is under way: nothing is left half done.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the node's worker had panicked");
        }
    }
}
