//! A table by id, for ids that only grow.

/// Values by id: two lists in the order of the ids, without the slack of a hash table. A value that is
/// removed leaves a hole until there are as many holes as values.
#[derive(Clone, Debug)]
pub struct ById<T> {
    ids: Vec<u32>,
    values: Vec<Option<T>>,
    holes: usize,
}

/// So many holes are not worth moving anything.
const HOLES: usize = 64;

impl<T> Default for ById<T> {
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            values: Vec::new(),
            holes: 0,
        }
    }
}

impl<T> ById<T> {
    /// The value of an id.
    pub fn get(&self, id: u32) -> Option<&T> {
        let at = self.find(id).ok()?;
        self.values[at].as_ref()
    }

    /// The value of an id, to be changed.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        let at = self.find(id).ok()?;
        self.values[at].as_mut()
    }

    /// The value of an id, made if there is none. Quick if no greater id is known.
    pub fn entry(&mut self, id: u32, new: impl FnOnce() -> T) -> &mut T {
        let at = match self.find(id) {
            Ok(at) => {
                self.holes -= usize::from(self.values[at].is_none());
                at
            }
            Err(at) => {
                self.reserve();
                self.ids.insert(at, id);
                self.values.insert(at, None);
                at
            }
        };
        self.values[at].get_or_insert_with(new)
    }

    /// Takes a value out.
    pub fn remove(&mut self, id: u32) -> Option<T> {
        let at = self.find(id).ok()?;
        let value = self.values[at].take()?;
        self.holes += 1;
        if self.holes > HOLES.max(self.len()) {
            self.close_holes();
        }
        Some(value)
    }

    /// How many values there are.
    pub const fn len(&self) -> usize {
        self.ids.len() - self.holes
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All ids and values, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let entries = self.ids.iter().zip(&self.values);
        entries.filter_map(|(id, value)| Some((*id, value.as_ref()?)))
    }

    /// Where an id is, or would be. Ids differ by one at least, which says how far from either end it can
    /// be: where no id is missing the search has one place to look at.
    fn find(&self, id: u32) -> Result<usize, usize> {
        let (Some(first), Some(last)) = (self.ids.first(), self.ids.last()) else {
            return Err(0);
        };
        if id < *first {
            return Err(0);
        }
        if id > *last {
            return Err(self.ids.len());
        }
        let end = self.ids.len().min((id - first) as usize + 1);
        let start = (self.ids.len() - 1).saturating_sub((last - id) as usize);
        let found = self.ids[start..end].binary_search(&id);
        found.map(|at| start + at).map_err(|at| start + at)
    }

    /// Grows by an eighth, for the table stays for long.
    fn reserve(&mut self) {
        if self.ids.len() == self.ids.capacity() {
            let more = self.ids.len() / 8 + 16;
            self.ids.reserve_exact(more);
            self.values.reserve_exact(more);
        }
    }

    fn close_holes(&mut self) {
        let mut values = self.values.iter();
        self.ids
            .retain(|_| values.next().is_some_and(Option::is_some));
        self.values.retain(Option::is_some);
        self.ids.shrink_to_fit();
        self.values.shrink_to_fit();
        self.holes = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::ById;

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((any::<bool>(), 0..300_u32), 1..600)) {
            let (mut table, mut oracle) = (ById::default(), BTreeMap::new());
            for (number, (insert, id)) in steps.into_iter().enumerate() {
                if insert {
                    let value = *table.entry(id, || number);
                    prop_assert_eq!(value, *oracle.entry(id).or_insert(number));
                } else {
                    prop_assert_eq!(table.remove(id), oracle.remove(&id));
                }
                prop_assert_eq!(table.get(id), oracle.get(&id));
                prop_assert_eq!(table.len(), oracle.len());
            }
            prop_assert!(table.iter().eq(oracle.iter().map(|(id, value)| (*id, value))));
        }
    }

    #[test]
    fn holes_do_not_pile_up() {
        let mut table = ById::default();
        for id in 1..100_000 {
            table.entry(id, || ());
            if id > 10 {
                table.remove(id - 10);
            }
        }
        assert_eq!(table.len(), 10);
        assert!(table.ids.capacity() < 200, "{}", table.ids.capacity());
    }
}
