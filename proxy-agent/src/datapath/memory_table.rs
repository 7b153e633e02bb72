//! A [`Table`] in memory that fails a share of its writes, seeded: for tests of plans, where
//! each failure must lead to a retry and never to a wrong end.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::table::{Cursor, Table, TableError};

/// Seeded chance of failure.
#[derive(Clone, Debug)]
pub struct Faults {
    state: u64,
    percent: u64,
}

impl Faults {
    /// No failures.
    pub const NONE: Self = Self {
        state: 0,
        percent: 0,
    };

    /// `percent` of all writes fail.
    pub const fn new(seed: u64, percent: u64) -> Self {
        Self {
            state: seed,
            percent,
        }
    }

    // SplitMix64 (Steele, Lea, Flood 2014).
    fn strikes(&mut self) -> bool {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % 100 < self.percent
    }
}

/// A table in memory. Clones share their entries, so that a test can look at what a plan wrote.
#[derive(Clone, Debug)]
pub struct MemoryTable<K, V> {
    name: String,
    capacity: u32,
    inner: Arc<Mutex<Inner<K, V>>>,
}

#[derive(Debug)]
struct Inner<K, V> {
    entries: BTreeMap<K, V>,
    faults: Faults,
    writes: u64,
}

impl<K: Copy + Ord + Debug, V: Copy + PartialEq + Debug> MemoryTable<K, V> {
    /// An empty table.
    pub fn new(name: impl Into<String>, capacity: u32, faults: Faults) -> Self {
        let inner = Inner {
            entries: BTreeMap::new(),
            faults,
            writes: 0,
        };
        Self {
            name: name.into(),
            capacity,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Successful writes and removals so far.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Changes the chance of failure from here on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strike(
        &self,
        operation: &'static str,
        key: &K,
    ) -> Result<MutexGuard<'_, Inner<K, V>>, TableError> {
        let mut inner = self.lock();
        if inner.faults.strikes() {
            return Err(struck(operation, &self.name, key));
        }
        inner.writes += 1;
        Ok(inner)
    }
}

impl<K: Copy + Ord + Debug + Send, V: Copy + PartialEq + Debug + Send> Table<K, V>
    for MemoryTable<K, V>
{
    fn name(&self) -> &str {
        &self.name
    }

    fn capacity(&self) -> u32 {
        self.capacity
    }

    fn get(&self, key: &K) -> Result<Option<V>, TableError> {
        Ok(self.lock().entries.get(key).copied())
    }

    fn set(&mut self, key: &K, value: &V) -> Result<(), TableError> {
        let mut inner = self.strike("write", key)?;
        let room = inner.entries.len() < self.capacity as usize;
        if !room && !inner.entries.contains_key(key) {
            return Err(TableError::Full {
                operation: "write",
                map: self.name.clone(),
                capacity: self.capacity,
            });
        }
        inner.entries.insert(*key, *value);
        Ok(())
    }

    fn remove(&mut self, key: &K) -> Result<(), TableError> {
        self.strike("remove", key)?.entries.remove(key);
        Ok(())
    }

    fn entries(&self) -> Result<Vec<(K, V)>, TableError> {
        Ok(self.lock().entries.iter().map(|(k, v)| (*k, *v)).collect())
    }

    fn page(&self, cursor: &mut Cursor<K>, limit: usize) -> Result<Vec<(K, V)>, TableError> {
        let start = cursor.last.map_or(Bound::Unbounded, Bound::Excluded);
        let inner = self.lock();
        let rest = inner.entries.range((start, Bound::Unbounded));
        let page: Vec<(K, V)> = rest.take(limit).map(|(k, v)| (*k, *v)).collect();
        cursor.last = page.last().map(|(key, _)| *key).or(cursor.last);
        cursor.done = page.len() < limit;
        Ok(page)
    }
}

fn struck(operation: &'static str, map: &str, key: &impl Debug) -> TableError {
    TableError::Kernel {
        operation,
        map: map.to_owned(),
        key: format!("{key:?}"),
        source: io::Error::other("a failure that the test asked for"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_writes_fails_and_changes_nothing() {
        let mut table = MemoryTable::new("T", 1000, Faults::new(7, 10));
        let failed: Vec<u32> = (0..1000).filter(|k| table.set(k, &1_u8).is_err()).collect();
        assert!((50..150).contains(&failed.len()), "{}", failed.len());
        assert!(failed.iter().all(|k| table.get(k).unwrap().is_none()));
        assert_eq!(table.entries().unwrap().len() + failed.len(), 1000);
        assert_eq!(table.writes() as usize, 1000 - failed.len());
    }

    #[test]
    fn a_full_table_takes_changes_but_no_new_keys() {
        let mut table = MemoryTable::new("T", 1, Faults::NONE);
        table.set(&1, &1).unwrap();
        table.set(&1, &2).unwrap();
        assert!(matches!(
            table.set(&2, &1),
            Err(TableError::Full { capacity: 1, .. })
        ));
    }
}
