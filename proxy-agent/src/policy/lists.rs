//! Interval lists in the map: interned, counted, never changed while a cell may refer to them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
};

use proxy_common::policy::{
    cells::LIST_NUMBERS,
    intervals::{Interval, IntervalBlock},
};

use super::{report::PolicyError, slots::Slots};
use crate::datapath::tree;

/// Root of a list.
pub type ListId = u32;

struct List {
    content: Vec<Interval>,
    blocks: Vec<u32>,
    holders: u32,
}

/// A list that is about to be written anew in other blocks.
#[derive(Debug)]
pub struct Renewal {
    from: ListId,
    blocks: Vec<u32>,
    /// The list's number from then on.
    pub to: ListId,
    /// Blocks to be written first.
    pub writes: Vec<(u32, IntervalBlock)>,
}

/// All lists.
pub struct Lists {
    slots: Slots,
    by_id: BTreeMap<ListId, List>,
    by_content: HashMap<Vec<Interval>, ListId>,
    unwritten: VecDeque<(u32, IntervalBlock)>,
    /// What found no room in the plan that is being made, and how many blocks it needs.
    homeless: HashMap<Vec<Interval>, u32>,
}

impl Lists {
    /// Lists in a map of this many blocks. Block 0 is not used.
    pub fn new(capacity: u32) -> Self {
        Self {
            slots: Slots::new(capacity.min(LIST_NUMBERS), 1),
            by_id: BTreeMap::new(),
            by_content: HashMap::new(),
            unwritten: VecDeque::new(),
            homeless: HashMap::new(),
        }
    }

    /// The map has so many blocks from now on, no fewer than before.
    pub fn grow(&mut self, capacity: u32) {
        self.slots.grow(capacity.min(LIST_NUMBERS));
    }

    /// The list of this content, and one more holder of it. New blocks wait in [`Self::next_unwritten`].
    pub fn hold(&mut self, content: &[Interval]) -> Result<ListId, PolicyError> {
        if let Some(id) = self.by_content.get(content) {
            let id = *id;
            if let Some(list) = self.by_id.get_mut(&id) {
                list.holders += 1;
            }
            return Ok(id);
        }
        let blocks = self.allocate(content)?;
        let id = blocks[0];
        self.unwritten.extend(tree::lay_out(content, &blocks));
        let list = List {
            content: content.to_vec(),
            blocks,
            holders: 1,
        };
        self.by_content.insert(list.content.clone(), id);
        self.by_id.insert(id, list);
        Ok(id)
    }

    /// A plan begins: what it finds no room for is counted from here on.
    pub fn begin(&mut self) {
        self.homeless.clear();
    }

    fn allocate(&mut self, content: &[Interval]) -> Result<Vec<u32>, PolicyError> {
        let count = tree::size(content.len()) as u32;
        let free = self.slots.free();
        if free < count {
            self.homeless.insert(content.to_vec(), count);
            return Err(PolicyError::NoRoom {
                map: "INTERVALS",
                needed: self.homeless.values().sum(),
                free,
                capacity: self.slots.capacity(),
                also: BTreeMap::new(),
            });
        }
        Ok((0..count).filter_map(|_| self.slots.take(1)).collect())
    }

    /// One holder less; the last one frees the list. Only when no packet can be reading it.
    pub fn release(&mut self, id: ListId) {
        let Some(list) = self.by_id.get_mut(&id) else {
            return;
        };
        list.holders -= 1;
        if list.holders > 0 {
            return;
        }
        if let Some(list) = self.by_id.remove(&id) {
            self.by_content.remove(&list.content);
            self.unwritten.retain(|(n, _)| !list.blocks.contains(n));
            list.blocks.iter().for_each(|n| self.slots.release(*n, 1));
        }
    }

    /// The next block that the map does not have yet.
    pub fn next_unwritten(&self) -> Option<&(u32, IntervalBlock)> {
        self.unwritten.front()
    }

    /// The map has it now.
    pub fn written(&mut self) {
        self.unwritten.pop_front();
    }

    /// Blocks that the map has: list, number, content.
    pub fn written_blocks(&self) -> Vec<(ListId, u32, IntervalBlock)> {
        self.written_after(None, usize::MAX).0
    }

    /// About `limit` of them, of the lists after this one; and the last list of those, if there are more.
    pub fn written_after(
        &self,
        after: Option<ListId>,
        limit: usize,
    ) -> (Vec<(ListId, u32, IntervalBlock)>, Option<ListId>) {
        let waits = |number: &u32| self.unwritten.iter().any(|(n, _)| n == number);
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut all = Vec::new();
        let mut last = None;
        for (id, list) in self.by_id.range((after, Bound::Unbounded)) {
            if all.len() >= limit {
                return (all, last);
            }
            last = Some(*id);
            let blocks = tree::lay_out(&list.content, &list.blocks).into_iter();
            all.extend(blocks.filter(|(n, _)| !waits(n)).map(|(n, b)| (*id, n, b)));
        }
        (all, None)
    }

    /// Takes blocks to write a list anew; none if there is no such list.
    pub fn begin_renewal(&mut self, from: ListId) -> Result<Option<Renewal>, PolicyError> {
        let Some(list) = self.by_id.get(&from) else {
            return Ok(None);
        };
        let content = list.content.clone();
        let blocks = self.allocate(&content)?;
        let writes = tree::lay_out(&content, &blocks);
        Ok(Some(Renewal {
            from,
            to: blocks[0],
            blocks,
            writes,
        }))
    }

    /// Gives the blocks back: the list stays where it is.
    pub fn abandon_renewal(&mut self, renewal: &Renewal) {
        renewal
            .blocks
            .iter()
            .for_each(|n| self.slots.release(*n, 1));
    }

    /// The list stands in its new blocks; gives the old ones, which stay taken until they are released.
    pub fn finish_renewal(&mut self, renewal: Renewal) -> Vec<u32> {
        let Some(mut list) = self.by_id.remove(&renewal.from) else {
            return Vec::new();
        };
        let old = std::mem::replace(&mut list.blocks, renewal.blocks);
        if let Some(id) = self.by_content.get_mut(&list.content) {
            *id = renewal.to;
        }
        self.by_id.insert(renewal.to, list);
        old
    }

    /// Numbers of blocks, for what a former agent left behind.
    pub fn slots(&mut self) -> &mut Slots {
        &mut self.slots
    }

    /// Blocks in use, and all there are.
    pub fn usage(&self) -> (u32, u32) {
        (self.slots.in_use(), self.slots.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Protocol, policy::intervals::allow};

    #[test]
    fn lists_are_shared_and_freed_by_the_last_holder() {
        let mut lists = Lists::new(8);
        let long: Vec<_> = (0..45)
            .map(|n| allow(Protocol::Tcp, n * 2, n * 2, 1))
            .collect();
        let a = lists.hold(&long).unwrap();
        assert_eq!(lists.hold(&long).unwrap(), a);
        assert_eq!(lists.usage().0, 5);
        let (first, block) = *lists.next_unwritten().unwrap();
        assert_eq!((block.count, block.level), (21, 0));
        assert_ne!(first, a);
        lists.release(a);
        assert_eq!(lists.usage().0, 5);
        lists.release(a);
        assert_eq!(lists.usage().0, 1);
        assert!(lists.next_unwritten().is_none());
    }

    #[test]
    fn a_full_map_is_an_error() {
        let mut lists = Lists::new(2);
        lists.hold(&[allow(Protocol::Tcp, 1, 1, 1)]).unwrap();
        let error = lists.hold(&[allow(Protocol::Tcp, 2, 2, 1)]).unwrap_err();
        assert!(matches!(
            error,
            PolicyError::NoRoom {
                map: "INTERVALS",
                ..
            }
        ));
    }
}
