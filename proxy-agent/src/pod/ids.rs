//! Endpoint ids: 1 to a limit, given out in turn, so that an id rests as long as possible, and not before the flows of
//! the pod that had it are ended.

use std::collections::BTreeSet;

/// No id is so large: flows have 16 bits for it, and this number for the node.
const NO_ID: u32 = proxy_common::conntrack::ENDPOINT_HOST as u32;

/// Ids in use and the next to try.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    used: BTreeSet<u32>,
    /// Of these, those whose pod is gone.
    spent: BTreeSet<u32>,
    /// How many were ever given back.
    freed: u64,
    next: u32,
    /// First number that is no id.
    limit: u32,
}

impl Ids {
    /// Ids below `limit`, `used` being in use.
    pub(super) fn new(limit: u32, used: impl IntoIterator<Item = u32>) -> Self {
        let used: BTreeSet<u32> = used.into_iter().collect();
        let next = used.last().map_or(1, |last| last + 1);
        Self {
            used,
            spent: BTreeSet::new(),
            freed: 0,
            next,
            limit: limit.min(NO_ID),
        }
    }

    /// Sets the first number that is no id.
    pub(super) fn limit(&mut self, limit: u32) {
        self.limit = limit.min(NO_ID);
    }

    /// Whether the limit may be raised.
    pub(super) const fn may_be_more(&self) -> bool {
        self.limit < NO_ID
    }

    /// How many ids are in use.
    pub(super) fn in_use(&self) -> u32 {
        self.used.len() as u32
    }

    /// Whether a quarter or less of the ids is free.
    pub(super) fn is_tight(&self) -> bool {
        self.used.len() * 4 >= self.limit.saturating_sub(1) as usize * 3
    }

    /// A free id, or none.
    pub(super) fn take(&mut self) -> Option<u32> {
        let in_turn = (self.next..self.limit).chain(1..self.next.min(self.limit));
        let id = in_turn.into_iter().find(|id| !self.used.contains(id))?;
        self.used.insert(id);
        self.next = id + 1;
        Some(id)
    }

    /// Gives an id back: it is free once its flows are ended.
    pub(super) fn free(&mut self, id: u32) {
        self.spent.insert(id);
        self.freed += 1;
    }

    /// How many were ever given back.
    pub(super) const fn freed(&self) -> u64 {
        self.freed
    }

    /// Whether an id is nobody's: not in use, or given back.
    pub(super) fn is_nobodys(&self, id: u32) -> bool {
        !self.used.contains(&id) || self.spent.contains(&id)
    }

    /// Whether flows are to be ended.
    pub(super) fn any_spent(&self) -> bool {
        !self.spent.is_empty()
    }

    /// The flows of all ids that were given back are ended.
    pub(super) fn ended(&mut self) {
        for id in std::mem::take(&mut self.spent) {
            self.used.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ids;

    #[test]
    fn an_id_that_was_freed_comes_last_and_not_before_its_flows_are_ended() {
        let mut ids = Ids::new(5, [2]);
        assert_eq!((ids.take(), ids.take()), (Some(3), Some(4)));
        ids.free(3);
        assert!(ids.any_spent() && ids.is_nobodys(3) && !ids.is_nobodys(4));
        assert_eq!((ids.take(), ids.take()), (Some(1), None));
        ids.ended();
        assert_eq!((ids.take(), ids.take()), (Some(3), None));
    }
}
