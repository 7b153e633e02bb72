//! Limits of bandwidth that somebody changed are put back, and what failed is tried again.

use cni_plugin::{
    rpc::Key,
    wiring::{name, queue},
};
use proxy_common::endpoints::ENDPOINT_QUEUED;
use tokio::time::{Duration, Instant};

use super::{Fault, Look, Looked, Side, Way};
use crate::{
    model::Owned,
    pod::{Interfaces, Pods, hands::Job, local::Local},
};

/// How often it is looked whether limits are as they should be.
const LOOK_PERIOD: Duration = Duration::from_secs(5);

/// When limits are looked at.
pub(in crate::pod) struct Watching {
    next: Instant,
    /// The first look removes what an agent before left behind.
    looked: bool,
    under_way: bool,
}

impl Watching {
    pub(in crate::pod) fn new() -> Self {
        Self {
            next: Instant::now(),
            looked: false,
            under_way: false,
        }
    }
}

impl Watching {
    /// The next event has them looked at.
    pub(in crate::pod) fn look(&mut self) {
        self.next = Instant::now();
    }
}

impl Pods {
    /// Tries again what failed, and from time to time sets right what somebody changed.
    pub(in crate::pod) fn watch_limits(&mut self, interfaces: &mut dyn Interfaces) {
        let failed = |local: &&Local| matches!(local.limiting.fault, Some(Fault::Failed(_)));
        let again: Vec<Key> = self
            .known
            .values()
            .filter(failed)
            .map(|l| l.add.key.clone())
            .collect();
        for key in again {
            self.limit(&key, interfaces);
        }
        let now = Instant::now();
        if now < self.watching.next || self.watching.under_way {
            return;
        }
        self.watching.next = now + LOOK_PERIOD;
        let any = self.known.values().any(|local| local.limiting.is_limited());
        if any || !self.watching.looked {
            self.watching.under_way = true;
            let look = self.limits();
            self.give(Job::LookAtLimits(look), interfaces);
        }
    }

    /// What a look is to go by now.
    fn limits(&self) -> Look {
        let locals = || self.known.values();
        let is_sound = |local: &&Local| local.limiting.fault.is_none();
        let queued = |local: &&Local| local.limiting.flags & ENDPOINT_QUEUED != 0;
        let timed = |local: &&Local| local.limiting.ways.egress == Some(Way::Edt);
        // Of those about whom nobody has said anything yet the queues stay.
        let keeps = |local: &&Local| local.limiting.wanted.is_none_or(|w| w.egress.is_some());
        let index = |local: &Local| local.add.host_ifindex;
        Look {
            sides: locals().filter(is_sound).filter_map(Side::of).collect(),
            ends: locals()
                .filter(queued)
                .map(|l| queue::end(index(l)))
                .collect(),
            entries: locals()
                .filter(timed)
                .map(|l| queue::entry(index(l)))
                .collect(),
            queues: locals()
                .filter(keeps)
                .flat_map(|local| name::queue_ifnames(&local.add.key))
                .collect(),
            known: locals().map(index).collect(),
        }
    }

    /// Takes note of what a look found. What differs at the first one is of an agent before.
    pub(in crate::pod) fn note_looked(&mut self, looked: Looked, interfaces: &mut dyn Interfaces) {
        let again = std::mem::replace(&mut self.watching.looked, true);
        self.watching.under_way = false;
        for (side, outcome) in looked.sides {
            match outcome {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(interface = side.name, "limits of bandwidth put back");
                    if again {
                        let thing = format!("limits of bandwidth on {}", side.name);
                        self.repairs.repaired(Owned::PodLimits, &thing);
                    }
                    // What was lost with the pair, too.
                    self.limit(&side.key, interfaces);
                }
                Err(fault) => self.note(&side.key, Some(fault)),
            }
        }
        for thing in looked.programs {
            self.repairs.repaired(Owned::QueuePrograms, thing);
        }
    }
}
