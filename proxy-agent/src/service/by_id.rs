//! A table by id, for ids that only grow and that are mostly all in use.

/// Values by id, in pages of 64 ids. A page has its values without gaps, and a bit for each id that has one:
/// where none is missing the ids take no memory, and those that are missing take next to none.
#[derive(Clone, Debug)]
pub struct ById<T> {
    /// By their numbers.
    pages: Vec<Page<T>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Page<T> {
    number: u32,
    present: u64,
    /// Of those that are present, in their order.
    values: Vec<T>,
}

const PAGE: u32 = u64::BITS;

impl<T> Default for ById<T> {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            len: 0,
        }
    }
}

impl<T> ById<T> {
    /// The value of an id.
    pub fn get(&self, id: u32) -> Option<&T> {
        let page = &self.pages[self.find(id / PAGE).ok()?];
        page.values.get(page.place(id).ok()?)
    }

    /// The value of an id, to be changed.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        let at = self.find(id / PAGE).ok()?;
        let page = &mut self.pages[at];
        let place = page.place(id).ok()?;
        page.values.get_mut(place)
    }

    /// The value of an id, made if there is none.
    pub fn entry(&mut self, id: u32, new: impl FnOnce() -> T) -> &mut T {
        let at = self.page(id / PAGE);
        let page = &mut self.pages[at];
        let place = page.place(id).unwrap_or_else(|place| {
            page.present |= bit(id);
            page.values.insert(place, new());
            self.len += 1;
            place
        });
        &mut page.values[place]
    }

    /// Takes a value out.
    pub fn remove(&mut self, id: u32) -> Option<T> {
        let at = self.find(id / PAGE).ok()?;
        let page = &mut self.pages[at];
        let value = page.values.remove(page.place(id).ok()?);
        page.present &= !bit(id);
        if page.values.len() < page.values.capacity() / 2 {
            page.values.shrink_to_fit();
        }
        if page.present == 0 {
            self.pages.remove(at);
        }
        self.len -= 1;
        Some(value)
    }

    /// How many values there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All ids and values, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.pages.iter().flat_map(Page::iter)
    }

    /// Where a page is, made if there is none.
    fn page(&mut self, number: u32) -> usize {
        self.find(number).unwrap_or_else(|at| {
            if self.pages.len() == self.pages.capacity() {
                // By an eighth, for the table stays for long.
                self.pages.reserve_exact(self.pages.len() / 8 + 4);
            }
            self.pages.insert(at, Page::new(number));
            at
        })
    }

    /// Where a page is, or would be. Numbers differ by one at least, which says how far from either end it
    /// can be: where no page is missing the search has one place to look at.
    fn find(&self, number: u32) -> Result<usize, usize> {
        let (Some(first), Some(last)) = (self.pages.first(), self.pages.last()) else {
            return Err(0);
        };
        if number < first.number {
            return Err(0);
        }
        if number > last.number {
            return Err(self.pages.len());
        }
        let end = self.pages.len().min((number - first.number) as usize + 1);
        let start = (self.pages.len() - 1).saturating_sub((last.number - number) as usize);
        let found = self.pages[start..end].binary_search_by_key(&number, |page| page.number);
        found.map(|at| start + at).map_err(|at| start + at)
    }
}

impl<T> Page<T> {
    const fn new(number: u32) -> Self {
        Self {
            number,
            present: 0,
            values: Vec::new(),
        }
    }

    /// Where the value of an id is, or would be.
    const fn place(&self, id: u32) -> Result<usize, usize> {
        let before = self.present & (bit(id) - 1);
        let place = before.count_ones() as usize;
        if self.present & bit(id) == 0 {
            Err(place)
        } else {
            Ok(place)
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let all = (0..PAGE).map(|index| self.number * PAGE + index);
        let present = all.filter(|id| self.place(*id).is_ok());
        present.zip(&self.values)
    }
}

const fn bit(id: u32) -> u64 {
    1 << (id % PAGE)
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
    fn what_is_gone_takes_no_memory() {
        let mut table = ById::default();
        for id in 1..100_000 {
            table.entry(id, || id);
            // A few stay.
            if id > 10 && id % 1000 != 0 {
                table.remove(id - 10);
            }
        }
        assert_eq!(table.len(), 99 + 10);
        let room: usize = table.pages.iter().map(|page| page.values.capacity()).sum();
        assert!(room < 4 * table.len(), "room for {room} values");
    }
}
