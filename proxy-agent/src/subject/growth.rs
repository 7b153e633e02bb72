//! Back-pressure: waiting for maps that may still grow.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Nobody waits longer for a map to grow. To make one takes a second or two; a machine that is short of time takes longer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Maps that somebody waits for, and that do not grow: they are as large as they may be, or the kernel refused.
pub type InVain = BTreeSet<String>;

/// Since when each of them waits; none if it has given up.
#[derive(Clone, Debug)]
pub struct Waits<N>(BTreeMap<N, Option<Instant>>);

impl<N> Default for Waits<N> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<N: Ord + Clone> Waits<N> {
    /// It waits, from now on if it did not before.
    pub fn begin(&mut self, who: &N, now: Instant) {
        if !self.0.contains_key(who) {
            self.0.insert(who.clone(), Some(now));
        }
    }

    /// It waits no longer, whatever room is made for others.
    pub fn give_up(&mut self, who: &N) {
        self.0.insert(who.clone(), None);
    }

    /// Whether it may wait, or go on to.
    pub fn may(&self, who: &N, now: Instant) -> bool {
        match self.0.get(who) {
            None => true,
            Some(None) => false,
            Some(Some(since)) => now.saturating_duration_since(*since) < PATIENCE,
        }
    }

    /// Only these wait still, or have given up.
    pub fn retain(&mut self, who: impl Fn(&N) -> bool) {
        self.0.retain(|name, _| who(name));
    }

    /// Until when the first of these may wait.
    pub fn until<'a>(&self, who: impl IntoIterator<Item = &'a N>) -> Option<Instant>
    where
        N: 'a,
    {
        let since = who.into_iter().filter_map(|name| *self.0.get(name)?).min();
        since.map(|since| since + PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_does_so_for_a_while_however_often_it_is_said() {
        let (now, mut waits) = (Instant::now(), Waits::default());
        assert!(waits.may(&1, now) && waits.until([&1]).is_none());
        waits.begin(&1, now);
        let last = now + PATIENCE.mul_f32(0.9);
        waits.begin(&1, last);
        waits.begin(&2, last);
        assert!(waits.may(&1, last) && !waits.may(&1, now + PATIENCE));
        assert!(waits.may(&2, now + PATIENCE));
        assert_eq!(waits.until([&1, &2]), Some(now + PATIENCE));
        assert_eq!(waits.until([&2, &3]), Some(last + PATIENCE));
        waits.give_up(&2);
        assert!(!waits.may(&2, now) && waits.until([&2]).is_none());
        waits.retain(|who| *who == 2);
        assert!(
            waits.may(&1, now + PATIENCE),
            "who had what it wanted begins anew"
        );
    }
}
