//! Last known good state: who keeps its last good state while maps grow.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::subjects::{Local, Locals};
use crate::{model::ObjectName, subject::growth::PATIENCE};

/// Pods whose policy is in force: while a policy waits for room, it is for them what it was before.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<u32, (ObjectName, String)>);

impl Held {
    /// Whether it is one of them.
    pub(super) fn has(&self, id: u32, local: &Local) -> bool {
        let held = self.0.get(&id);
        held.is_some_and(|(pod, uid)| *pod == local.pod && *uid == local.uid)
    }

    /// Policy is in force for these pods. `is_free` tells whom no policy selects that waits for room: others that are new
    /// stay so.
    pub(super) fn settle(&mut self, locals: &Locals, is_free: impl Fn(&Local) -> bool) {
        let known = locals.iter().filter(|(_, local)| local.subject.is_some());
        let held = known.filter(|(id, local)| self.has(**id, local) || is_free(local));
        let held = held.map(|(id, local)| (*id, (local.pod.clone(), local.uid.clone())));
        self.0 = held.collect();
    }
}

/// Everything stays as it is: not even what is in force could be kept in step.
#[derive(Debug, Default)]
pub(super) struct Standstill {
    /// What is in force is what this process settled, so that it is known what that is.
    pub(super) settled: bool,
    /// Since when, and why.
    pub(super) since: Option<(Instant, String)>,
}

impl Standstill {
    /// Whether it may last.
    pub(super) fn may(&self, now: Instant) -> bool {
        let since = self.since.as_ref();
        since.is_none_or(|(since, _)| now.saturating_duration_since(*since) < PATIENCE)
    }

    /// Everything stays as it is from now on.
    pub(super) fn begin(&mut self, now: Instant, why: &str) {
        let since = self.since.as_ref().map_or(now, |(since, _)| *since);
        self.since = Some((since, why.to_owned()));
    }

    /// How long it may last.
    pub(super) fn due(&self, now: Instant) -> Option<Duration> {
        let (since, _) = self.since.as_ref()?;
        Some((*since + PATIENCE).saturating_duration_since(now))
    }

    /// A plan was carried out.
    pub(super) fn end(&mut self) {
        *self = Self {
            settled: true,
            since: None,
        };
    }
}
