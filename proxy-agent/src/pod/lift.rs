//! When pods' interfaces are lifted from clsact to TCX: while nothing else is asked of the node.
//!
//! Each link costs an RCU grace period under the lock of all interfaces, so that an ADD that comes meanwhile waits for
//! one of them: few at a time, and none while pods come and go.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Pods,
    event::Event,
    hands::Job,
    interfaces::{Interfaces, Lift},
};
use crate::datapath::{DatapathError, Lifted, TcMode};

/// How long no pod must have come or gone.
const QUIET: Duration = Duration::from_secs(2);
/// Interfaces that are lifted at a time.
const BATCH: usize = 4;

/// What became of an interface.
pub(super) type Outcome = (u32, Result<Lifted, DatapathError>);

/// What is remembered from one time to the next.
pub(super) struct Lifting {
    /// None: the kernel has no TCX, or it is not wanted.
    lifter: Option<Arc<dyn Lift>>,
    /// A thread is at it.
    running: bool,
    /// Counts ADDs and DELs; the thread stops when it moves.
    calls: Arc<AtomicU64>,
    last: Instant,
    /// Not tried again before the next sweep.
    failed: BTreeSet<u32>,
}

impl Lifting {
    pub(super) fn new(interfaces: &dyn Interfaces) -> Result<Self, DatapathError> {
        Ok(Self {
            lifter: interfaces.lifter()?,
            running: false,
            calls: Arc::default(),
            last: Instant::now(),
            failed: BTreeSet::new(),
        })
    }

    /// A pod comes or goes.
    pub(super) fn disturb(&mut self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.last = Instant::now();
    }

    /// Lets those be tried again that failed.
    pub(super) fn forgive(&mut self) {
        self.failed.clear();
    }
}

impl Pods {
    /// Begins to lift some interfaces, if this is the time.
    pub(super) fn lift(&mut self) {
        let lifting = &mut self.lifting;
        let Some(lifter) = lifting.lifter.clone() else {
            return;
        };
        if lifting.running || lifting.last.elapsed() < QUIET || !self.waiting.is_empty() {
            return;
        }
        let batch: Vec<u32> = self
            .known
            .values()
            .filter(|local| local.mode == Some(TcMode::Clsact))
            .map(|local| local.add.host_ifindex)
            .filter(|ifindex| !lifting.failed.contains(ifindex))
            .take(BATCH)
            .collect();
        if batch.is_empty() {
            return;
        }
        lifting.running = true;
        let calls = Arc::clone(&lifting.calls);
        let began = calls.load(Ordering::Relaxed);
        self.beside(&self.config.works.lifting, move || {
            let go_on = || calls.load(Ordering::Relaxed) == began;
            let lift = |ifindex| (ifindex, lifter.lift(ifindex, &go_on));
            Event::Lifted(batch.into_iter().map(lift).collect())
        });
    }

    /// Takes note of what was lifted.
    pub(super) fn lifted(&mut self, outcomes: Vec<Outcome>, interfaces: &mut dyn Interfaces) {
        self.lifting.running = false;
        for (ifindex, outcome) in outcomes {
            let mut locals = self.known.values_mut();
            let Some(local) = locals.find(|local| local.add.host_ifindex == ifindex) else {
                // It went meanwhile: links that were made after its DEL are in nobody's books.
                self.give(Job::Detach(ifindex, "that is gone".to_owned()), interfaces);
                continue;
            };
            match outcome {
                Ok(Lifted::Done) => local.mode = Some(TcMode::Tcx),
                Ok(Lifted::Later) => {}
                Ok(Lifted::Never) => self.lifting.lifter = None,
                Err(error) => {
                    tracing::warn!(pod = %local.add.pod, %error, "pod stays with clsact");
                    self.lifting.failed.insert(ifindex);
                }
            }
        }
    }
}
