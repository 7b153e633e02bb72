//! Limits of bandwidth that somebody changed are put back, and what failed is tried again.

use std::collections::BTreeSet;

use cni_plugin::{
    rpc::Key,
    wiring::{name, queue},
};
use proxy_common::endpoints::ENDPOINT_QUEUED;
use tokio::time::{Duration, Instant};

use super::{Done, Fault, Side, Way, fault};
use crate::{
    model::Owned,
    pod::{Interfaces, Pods, local::Local},
};

/// How often it is looked whether limits are as they should be.
const LOOK_PERIOD: Duration = Duration::from_secs(5);

/// When limits are looked at.
pub(in crate::pod) struct Watching {
    next: Instant,
    /// The first look removes what an agent before left behind.
    looked: bool,
}

impl Watching {
    pub(in crate::pod) fn new() -> Self {
        Self {
            next: Instant::now(),
            looked: false,
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
        if now < self.watching.next {
            return;
        }
        self.watching.next = now + LOOK_PERIOD;
        let any = self.known.values().any(|local| local.limiting.is_limited());
        let looked = std::mem::replace(&mut self.watching.looked, true);
        if any || !looked {
            self.look_at_limits(interfaces, looked);
        }
    }

    /// What differs at the first look (not `again`) is of an agent before.
    fn look_at_limits(&mut self, interfaces: &mut dyn Interfaces, again: bool) {
        let is_sound = |local: &&Local| local.limiting.fault.is_none();
        let sides: Vec<Side> = self
            .known
            .values()
            .filter(is_sound)
            .filter_map(Side::of)
            .collect();
        let mended = match interfaces.limit(&sides) {
            Ok(mended) => mended,
            Err(error) => {
                tracing::warn!(%error, "limits of bandwidth not read");
                return;
            }
        };
        for (side, outcome) in sides.iter().zip(mended) {
            match outcome {
                Ok(Done { changed: false, .. }) => {}
                Ok(_) => {
                    tracing::info!(interface = side.name, "limits of bandwidth put back");
                    if again {
                        let thing = format!("limits of bandwidth on {}", side.name);
                        self.repairs.repaired(Owned::PodLimits, &thing);
                    }
                    // What was lost with the pair, too.
                    self.limit(&side.key, interfaces);
                }
                Err(error) => self.note(&side.key, Some(fault(&error))),
            }
        }
        self.attach_ends(interfaces);
        self.attach_entries(interfaces);
        // Of those about whom nobody has said anything yet the queues stay.
        let keeps = |local: &&Local| local.limiting.wanted.is_none_or(|w| w.egress.is_some());
        let keep: BTreeSet<String> = self
            .known
            .values()
            .filter(keeps)
            .flat_map(|local| name::queue_ifnames(&local.add.key))
            .collect();
        if let Err(error) = interfaces.remove_queues(&keep) {
            tracing::warn!(%error, "queues of pods that are gone not removed");
        }
        let sides: BTreeSet<u32> = self.known.values().map(|l| l.add.host_ifindex).collect();
        let is_known = |at: u32| {
            let mut known = sides.iter();
            known.any(|side| *side == at || queue::entry(*side) == at)
        };
        if let Err(error) = interfaces.keep_paces(&is_known) {
            tracing::warn!(%error, "limits of pods that are gone not removed");
        }
    }

    /// Attaches again what someone took off the entries of queues.
    fn attach_entries(&mut self, interfaces: &mut dyn Interfaces) {
        let timed = |local: &&Local| local.limiting.ways.egress == Some(Way::Edt);
        let locals = self.known.values().filter(timed);
        let entries: Vec<u32> = locals.map(|l| queue::entry(l.add.host_ifindex)).collect();
        for entry in entries {
            let mended = match interfaces.has_entry(entry) {
                Ok(true) => continue,
                Ok(false) => interfaces.attach_entry(entry),
                Err(error) => Err(error),
            };
            match mended {
                Ok(()) => self.repairs.repaired(
                    Owned::QueuePrograms,
                    "a program at the entry of a pod's queue",
                ),
                Err(error) => {
                    tracing::warn!(%error, "program at the entry of a queue not attached");
                }
            }
        }
    }

    /// Attaches again what someone took off the ends of queues.
    fn attach_ends(&mut self, interfaces: &mut dyn Interfaces) {
        let queued = |local: &&Local| local.limiting.flags & ENDPOINT_QUEUED != 0;
        let locals = self.known.values().filter(queued);
        let ends: Vec<u32> = locals.map(|l| queue::end(l.add.host_ifindex)).collect();
        if ends.is_empty() {
            return;
        }
        let attached = match interfaces.attached(&ends) {
            Ok(attached) => attached,
            Err(error) => {
                tracing::warn!(%error, "programs at the ends of queues not listed");
                return;
            }
        };
        let lost: Vec<u32> = ends
            .into_iter()
            .filter(|end| !attached.contains_key(end))
            .collect();
        if lost.is_empty() {
            return;
        }
        match interfaces.attach(&lost) {
            Ok(_) => self
                .repairs
                .repaired(Owned::QueuePrograms, "programs at the ends of pods' queues"),
            Err(error) => {
                tracing::warn!(%error, "programs at the ends of queues not attached");
            }
        }
    }
}
