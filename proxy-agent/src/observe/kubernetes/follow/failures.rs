//! Back-off with jitter after failures of a watch in a row: how long to wait before the next attempt, and whether people are told.

use std::time::Duration;

use kube::{
    Error::Api,
    runtime::{
        utils::Backoff as _,
        watcher::{DefaultBackoff, Error},
    },
};

use crate::usage::chain;

/// After how many in a row they are said; single ones are everyday life.
const SAID_AFTER: u32 = 3;
const LONGEST: Duration = Duration::from_secs(30);

/// A failure.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) why: String,
    /// The status of the API server's answer, if it is one.
    code: Option<u16>,
}

impl Failure {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            code: None,
        }
    }

    /// Whether a right is missing, or the kind.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self.code, Some(401 | 403 | 404))
    }

    /// Of a watch. That one ends is no refusal: time-outs, compaction.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::InitialListFailed(Api(status)) | Error::WatchStartFailed(Api(status)) => Self {
                why: status.message.clone(),
                code: Some(status.code),
            },
            error => Self::new(chain(error)),
        }
    }
}

/// How often it failed in a row.
#[derive(Default)]
pub(super) struct Failures {
    count: u32,
    backoff: DefaultBackoff,
}

impl Failures {
    /// It works.
    pub(super) fn reset(&mut self) {
        self.count = 0;
        self.backoff.reset();
    }

    /// It failed once more; true if people are to be told.
    pub(super) fn add(&mut self, failure: &Failure) -> bool {
        self.count += 1;
        failure.code.is_some() || self.is_persistent()
    }

    /// Whether it is more than a hiccup.
    pub(super) const fn is_persistent(&self) -> bool {
        self.count >= SAID_AFTER
    }

    /// How long to wait now.
    pub(super) fn pause(&mut self) -> Duration {
        self.backoff.next().unwrap_or(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Failure, Failures, LONGEST};

    #[test]
    fn agents_that_fail_together_do_not_come_back_together() {
        let mut agents: Vec<Failures> = (0..32).map(|_| Failures::default()).collect();
        for round in 0..12 {
            let pauses: Vec<_> = agents.iter_mut().map(Failures::pause).collect();
            let different: BTreeSet<_> = pauses.iter().collect();
            assert!(different.len() > 16, "{round}: {pauses:?}");
            assert!(
                pauses.iter().all(|pause| *pause <= 2 * LONGEST),
                "{pauses:?}"
            );
        }
    }

    #[test]
    fn pauses_grow_until_it_works_and_hiccups_are_not_said() {
        let mut failures = Failures::default();
        let hiccup = Failure::new("connection reset");
        let said: Vec<bool> = (0..4).map(|_| failures.add(&hiccup)).collect();
        assert_eq!(said, [false, false, true, true]);
        let first = failures.pause();
        let later = (0..6).map(|_| failures.pause()).last().unwrap();
        assert!(later > first * 8, "{first:?}, then {later:?}");
        failures.reset();
        assert!(!failures.add(&hiccup));
        assert!(failures.pause() < later / 8);
    }
}
