//! Garbage collection of claims: who is gone for good, and since when.
//!
//! A Node's UID never comes back, so that one answer of the API server that there is no such Node is enough, however old
//! this agent's watch is and whatever it hears later. From that answer the time runs, by the clock of this boot.

use std::{collections::BTreeMap, time::Duration};

use super::book::Book;
use crate::config::Period;

/// A Node: name and UID.
pub type Who = (String, String);

/// Nodes with claims that are gone, and since when that is known.
#[derive(Debug, Default)]
pub struct Gone(BTreeMap<Who, Duration>);

impl Gone {
    /// Claims whose Node seems to be gone, about which the API server is to be asked. Forgets those without a claim.
    pub fn suspects(&mut self, book: &Book, is_there: impl Fn(&str, &str) -> bool) -> Vec<Who> {
        self.0.retain(|(node, uid), _| book.of(node, uid).is_some());
        let missing = book
            .claims
            .iter()
            .filter(|claim| !is_there(&claim.node, &claim.uid));
        let missing = missing.map(|claim| (claim.node.clone(), claim.uid.clone()));
        missing.filter(|who| !self.0.contains_key(who)).collect()
    }

    /// The API server has said that a Node is not there; `now` is after that.
    pub fn note(&mut self, who: Who, now: Duration) {
        self.0.entry(who).or_insert(now);
    }

    /// Those whose claims may be given back: no agent relies on them any more.
    pub fn due(&self, book: &Book, keep: Period, now: Duration) -> Vec<Who> {
        let is_due = |who: &Who, since: Duration| {
            let claim = book.of(&who.0, &who.1);
            claim.is_some_and(|claim| now.saturating_sub(since) >= claim.keep.max(keep).0)
        };
        let gone = self.0.iter().filter(|(who, since)| is_due(who, **since));
        gone.map(|(who, _)| who.clone()).collect()
    }
}

/// Until when an agent may rely on a claim that was there, as its Node was, at a time of the clock of this boot. A tenth is for
/// clocks that go at different speeds.
pub fn until(confirmed: Duration, keep: Period) -> Duration {
    confirmed.saturating_add(keep.0 / 10 * 9)
}
