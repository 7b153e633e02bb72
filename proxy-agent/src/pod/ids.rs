//! Endpoint ids: 1 to a limit, given out in turn, so that an id rests as long as possible; those that flows named
//! when the agent began come last.

use std::collections::BTreeSet;

/// Ids in use and the next to try.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    used: BTreeSet<u32>,
    resting: BTreeSet<u32>,
    next: u32,
    /// First number that is no id.
    limit: u32,
}

impl Ids {
    /// Ids below `limit`, `used` being in use.
    pub(super) fn new(
        limit: u32,
        used: impl IntoIterator<Item = u32>,
        resting: BTreeSet<u32>,
    ) -> Self {
        let used: BTreeSet<u32> = used.into_iter().collect();
        let next = used.last().map_or(1, |last| last + 1);
        Self {
            used,
            resting,
            next,
            limit,
        }
    }

    /// A free id, or none.
    pub(super) fn take(&mut self) -> Option<u32> {
        let in_turn = (self.next..self.limit).chain(1..self.next.min(self.limit));
        let mut free = in_turn.filter(|id| !self.used.contains(id));
        let rested = free.clone().find(|id| !self.resting.contains(id));
        let id = rested.or_else(|| free.next())?;
        self.resting.remove(&id);
        self.used.insert(id);
        self.next = id + 1;
        Some(id)
    }

    /// Gives an id back.
    pub(super) fn free(&mut self, id: u32) {
        self.used.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Ids;

    #[test]
    fn an_id_that_flows_name_is_the_last_resort() {
        let mut ids = Ids::new(5, [1], BTreeSet::from([2, 3]));
        assert_eq!((ids.take(), ids.take()), (Some(4), Some(2)));
        assert_eq!((ids.take(), ids.take()), (Some(3), None));
    }

    #[test]
    fn an_id_that_was_freed_comes_last() {
        let mut ids = Ids::new(5, [2], BTreeSet::new());
        assert_eq!((ids.take(), ids.take()), (Some(3), Some(4)));
        ids.free(3);
        assert_eq!(
            (ids.take(), ids.take(), ids.take()),
            (Some(1), Some(3), None)
        );
    }
}
