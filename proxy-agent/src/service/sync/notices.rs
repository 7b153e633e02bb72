//! What owners of Services should know.

use std::time::Instant;

use super::{Failure, ServiceSync};
use crate::{
    model::{EventReason, Kind, Notice, ObjectName},
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
        let refused = failed.filter_map(|(owner, failure)| {
            let reason = if failure.taken {
                EventReason::AddressConflict
            } else {
                EventReason::NotProgrammed
            };
            match owner {
                Owner::Service(name) => Some(notice(name, reason, failure.error.clone())),
                Owner::Pod(_) => None,
            }
        });
        let unserved = self.unserved.iter();
        let unserved =
            unserved.map(|(name, why)| notice(name, EventReason::NotServed, why.join("; ")));
        refused.chain(unserved).collect()
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

fn notice(service: &ObjectName, reason: EventReason, note: String) -> Notice {
    Notice {
        kind: Kind::Service,
        object: service.clone(),
        reason,
        note,
    }
}
