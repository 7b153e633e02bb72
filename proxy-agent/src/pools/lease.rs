//! Who gives addresses: whoever has the Lease.
//!
//! A Lease alone cannot rule out two at once, for a write may arrive after it has ended; nor need it. The addresses are in the
//! Services' own status, each written by compare-and-swap, and the plan is a function of them: two that plan at once write
//! the same, unless one of them has not seen what the other wrote last. Then two Services may have one address, of which the
//! older one is served (as with any address that two Services claim), until the next plan gives the other one another. An
//! object that all writes go through, as for ranges of pods, would rule that out at the price of a second copy of what the
//! Services say.
//!
//! No clock of another machine counts: a Lease has ended if it was not renewed for its duration by the clock of who looks.

use std::time::Duration;

use crate::observe::kubernetes::HeldLease;

/// Whoever does not renew it for so long has it no more.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed.
pub const RENEWAL: Duration = Duration::from_secs(5);
/// How often all agents together look at it, at the most.
const LOOKS: Duration = Duration::from_millis(100);

/// What one knows of the Lease.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// As it was last seen, and since when it is so.
    seen: Option<(HeldLease, Duration)>,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write it: it is one's own, or nobody's any more.
    Hold,
    /// It is another's.
    Wait,
}

impl Watched {
    /// Looks at the Lease, read after `now` began.
    pub fn look(&mut self, lease: &HeldLease, node: &str, now: Duration) -> Step {
        let since = match &self.seen {
            Some((seen, since)) if seen == lease => *since,
            _ => now,
        };
        self.seen = Some((lease.clone(), since));
        let ended = now.saturating_sub(since) >= DURATION;
        if lease.holder == node || lease.holder.is_empty() || ended {
            Step::Hold
        } else {
            Step::Wait
        }
    }
}

/// How long an agent waits before it looks again: the more nodes there are, the longer, so that the API server is not asked more
/// often. One of them is soon there anyway.
pub fn pause(nodes: usize) -> Duration {
    let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
    RENEWAL.max(LOOKS.saturating_mul(nodes))
}

/// Whether whoever renewed it at a time may still write, so that nobody else has it when the write arrives.
pub fn may_write(renewed: Duration, now: Duration, patience: Duration) -> bool {
    now + patience < renewed + DURATION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(version: &str, holder: &str) -> HeldLease {
        HeldLease {
            version: version.to_owned(),
            holder: holder.to_owned(),
            transitions: 0,
        }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_is_taken_from_whoever_does_not_renew_it() {
        let mut watched = Watched::default();
        assert_eq!(watched.look(&lease("1", ""), "a", at(0)), Step::Hold);
        assert_eq!(watched.look(&lease("2", "b"), "a", at(1)), Step::Wait);
        assert_eq!(watched.look(&lease("3", "b"), "a", at(15)), Step::Wait);
        assert_eq!(watched.look(&lease("3", "b"), "a", at(29)), Step::Wait);
        assert_eq!(
            watched.look(&lease("4", "b"), "a", at(31)),
            Step::Wait,
            "it is renewed"
        );
        assert_eq!(watched.look(&lease("4", "b"), "a", at(46)), Step::Hold);
        assert_eq!(
            watched.look(&lease("5", "a"), "a", at(47)),
            Step::Hold,
            "its own"
        );
    }

    #[test]
    fn who_writes_has_it_still_when_the_write_arrives() {
        let patience = at(4);
        assert!(may_write(at(100), at(110), patience));
        assert!(!may_write(at(100), at(111), patience));
    }

    #[test]
    fn many_nodes_ask_no_more_often_than_few() {
        assert_eq!(pause(3), RENEWAL);
        assert_eq!(pause(5000), at(500));
    }
}
