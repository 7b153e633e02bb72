//! What owners of Services, and of pods with `hostPort`s, should know.

use std::{sync::Arc, time::Instant};

use super::{Failure, ServiceSync};
use crate::{
    model::{EventReason, Notice},
    service::Owner,
    subject::growth::{InVain, PATIENCE},
};

impl ServiceSync {
    /// What stands now. What the kernel does not take is no fault of a Service, and what waits for a map that grows is not
    /// refused yet; maps `in_vain` do not grow.
    pub fn notices(&self, in_vain: &InVain) -> Vec<Notice> {
        let now = Instant::now();
        let stands = |failure: &Failure| !failure.broken && !failure.waits(in_vain, now);
        let failed = self.failed.iter().filter(|(_, failure)| stands(failure));
        let refused = failed.map(|(owner, failure)| {
            let reason = if failure.taken {
                EventReason::AddressConflict
            } else {
                EventReason::NotProgrammed
            };
            notice(owner, reason, failure.error.clone())
        });
        let unserved = self.unserved.iter().map(|(name, why)| {
            let (owner, why) = (Owner::Service(name.clone()), why.join("; "));
            notice(&owner, EventReason::NotServed, why)
        });
        let lost = self.host_ports.lost().map(|(pod, why)| {
            let owner = Owner::Pod(Arc::clone(pod));
            notice(&owner, EventReason::AddressConflict, why)
        });
        let shadowed = self.notices_of_shadowed();
        refused
            .chain(unserved)
            .chain(lost)
            .chain(shadowed)
            .collect()
    }
}

impl Failure {
    /// Whether it waits for a map that may still grow.
    fn waits(&self, in_vain: &InVain, now: Instant) -> bool {
        let grows = self
            .room
            .as_ref()
            .is_some_and(|(map, _)| !in_vain.contains(map));
        grows && now.saturating_duration_since(self.since) < PATIENCE
    }
}

fn notice(owner: &Owner, reason: EventReason, note: String) -> Notice {
    let (kind, object) = owner.object();
    Notice {
        kind,
        object,
        reason,
        note,
    }
}
