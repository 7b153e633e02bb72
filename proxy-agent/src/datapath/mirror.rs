//! Mirrors of maps: what the agent has written to them, and the comparison of that with what they hold.
//!
//! A [`Mirror`] is a [`Table`] with a picture of it, kept true write by write: plans start from the picture, and cost no
//! reads. What an outside hand changed (drift) is found by a [`Sweep`], piece by piece: each piece is read and compared
//! between two writes of the agent, its single writer, so a sweep needs no lock and may take as long as it likes.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    ops::Bound,
    time::{Duration, Instant},
};

use super::table::{Cursor, Table, TableError};

/// What was written to a map.
pub trait Written<K, V> {
    /// How many entries.
    fn len(&self) -> usize;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The value under a key.
    fn get(&self, key: &K) -> Option<V>;
    /// The next keys after one, in order; the first without one.
    fn after(&self, key: Option<&K>, limit: usize) -> Vec<K>;
}

impl<K: Copy + Ord, V: Copy> Written<K, V> for BTreeMap<K, V> {
    fn len(&self) -> usize {
        self.len()
    }

    fn get(&self, key: &K) -> Option<V> {
        self.get(key).copied()
    }

    fn after(&self, key: Option<&K>, limit: usize) -> Vec<K> {
        let start = key.map_or(Bound::Unbounded, |key| Bound::Excluded(*key));
        let keys = self.range((start, Bound::Unbounded)).map(|(key, _)| *key);
        keys.take(limit).collect()
    }
}

/// A piece of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<K, V> {
    /// What is not as it was written: what should be under the key.
    pub drift: Vec<(K, Option<V>)>,
    /// It was the last one.
    pub done: bool,
}

/// A comparison that is under way.
#[derive(Clone, Debug)]
pub struct Sweep<K> {
    cursor: Cursor<K>,
    /// Entries found as they were written.
    same: usize,
    phase: Phase<K>,
}

#[derive(Clone, Copy, Debug)]
enum Phase<K> {
    /// What the map holds is read.
    Read,
    /// What is missing in it is looked for, after this key.
    Look(Option<K>),
}

impl<K> Default for Sweep<K> {
    fn default() -> Self {
        Self {
            cursor: Cursor::default(),
            same: 0,
            phase: Phase::Read,
        }
    }
}

impl<K: Copy + Ord + Debug> Sweep<K> {
    /// Compares about `limit` entries more. After the last piece it is ready to begin anew.
    pub fn next<V: Copy + PartialEq + Debug>(
        &mut self,
        table: &dyn Table<K, V>,
        written: &dyn Written<K, V>,
        limit: usize,
    ) -> Result<Piece<K, V>, TableError> {
        let piece = match self.phase {
            Phase::Read => self.read(table, written, limit)?,
            Phase::Look(last) => self.look(last, table, written, limit)?,
        };
        if piece.done {
            *self = Self::default();
        }
        Ok(piece)
    }

    /// What the map holds.
    fn read<V: Copy + PartialEq + Debug>(
        &mut self,
        table: &dyn Table<K, V>,
        written: &dyn Written<K, V>,
        limit: usize,
    ) -> Result<Piece<K, V>, TableError> {
        let entries = table.page(&mut self.cursor, limit)?;
        let mut drift = Vec::new();
        for (key, value) in entries {
            match written.get(&key) {
                Some(known) if known == value => self.same += 1,
                wanted => drift.push((key, wanted)),
            }
        }
        // Each is there: then none is missing. Writes meanwhile only make the look be taken in vain.
        let whole = self.same == written.len();
        if self.cursor.done && !whole {
            self.phase = Phase::Look(None);
        }
        let done = self.cursor.done && whole;
        Ok(Piece { drift, done })
    }

    /// What was written and is not there.
    fn look<V: Copy + PartialEq + Debug>(
        &mut self,
        last: Option<K>,
        table: &dyn Table<K, V>,
        written: &dyn Written<K, V>,
        limit: usize,
    ) -> Result<Piece<K, V>, TableError> {
        let keys = written.after(last.as_ref(), limit);
        let mut drift = Vec::new();
        for key in &keys {
            let wanted = written.get(key);
            if table.get(key)?.is_none() {
                drift.push((*key, wanted));
            }
        }
        self.phase = Phase::Look(keys.last().copied());
        let done = keys.is_empty();
        Ok(Piece { drift, done })
    }
}

/// Puts one entry right.
pub fn put<K, V>(table: &mut dyn Table<K, V>, key: &K, wanted: Option<V>) -> Result<(), TableError>
where
    K: Copy + Ord + Debug,
    V: Copy + PartialEq + Debug,
{
    match wanted {
        Some(value) => table.set(key, &value),
        None => table.remove(key),
    }
}

/// A map, and what was written to it.
pub struct Mirror<K, V> {
    table: Box<dyn Table<K, V>>,
    written: BTreeMap<K, V>,
    sweep: Sweep<K>,
    refusal: Option<Refusal>,
}

/// A write that the kernel did not take.
#[derive(Debug)]
struct Refusal {
    why: String,
    at: Instant,
}

impl<K: Copy + Ord + Debug, V: Copy + PartialEq + Debug> Mirror<K, V> {
    /// Begins with what the map holds.
    pub fn open(table: Box<dyn Table<K, V>>) -> Result<Self, TableError> {
        Ok(Self {
            written: table.entries()?.into_iter().collect(),
            table,
            sweep: Sweep::default(),
            refusal: None,
        })
    }

    /// What was written.
    pub const fn written(&self) -> &BTreeMap<K, V> {
        &self.written
    }

    /// Writes one entry, or removes it.
    fn put(&mut self, key: &K, wanted: Option<V>) -> Result<(), TableError> {
        let done = put(&mut *self.table, key, wanted);
        match &done {
            Ok(()) => self.refusal = None,
            Err(error @ TableError::Kernel { .. }) => {
                let (why, at) = (error.to_string(), Instant::now());
                self.refusal = Some(Refusal { why, at });
            }
            Err(TableError::Full { .. }) => {}
        }
        done
    }

    /// Writes what is missing or differs; other entries stay. Goes on after a failure and returns the first; else how
    /// many writes it took.
    pub fn insert(&mut self, desired: &BTreeMap<K, V>) -> Result<usize, TableError> {
        let written = &self.written;
        let missing = desired.iter().filter(|(k, v)| written.get(k) != Some(v));
        let missing: Vec<(K, V)> = missing.map(|(k, v)| (*k, *v)).collect();
        let writes = missing.into_iter().map(|(key, value)| {
            self.put(&key, Some(value))?;
            self.written.insert(key, value);
            Ok(1)
        });
        all(writes)
    }

    /// Removes these. Goes on after a failure and returns the first; else how many writes it took.
    pub fn remove(&mut self, keys: impl IntoIterator<Item = K>) -> Result<usize, TableError> {
        let removals = keys.into_iter().map(|key| {
            if !self.written.contains_key(&key) {
                return Ok(0);
            }
            self.put(&key, None)?;
            self.written.remove(&key);
            Ok(1)
        });
        all(removals)
    }

    /// Removes all others than these, as [`Self::remove`].
    pub fn retain(&mut self, desired: &BTreeMap<K, V>) -> Result<usize, TableError> {
        let stale = self.written.keys().filter(|k| !desired.contains_key(k));
        let stale: Vec<K> = stale.copied().collect();
        self.remove(stale)
    }
}

/// A mirror, whatever its entries are.
pub trait Kept {
    /// Why the kernel did not take the last write, if it did not. That there was no room is another matter.
    fn refused(&self) -> Option<&str>;
    /// Forgets a write that was refused so long ago, and is not wanted any more.
    fn forgive(&mut self, age: Duration);
    /// Compares about `limit` entries more with what was written, and sets right what differs; true if those were the last. Goes
    /// on after a failure; what could not be set right is found again.
    fn compare(&mut self, limit: usize) -> (Mended, bool);
}

impl<K: Copy + Ord + Debug, V: Copy + PartialEq + Debug> Kept for Mirror<K, V> {
    fn refused(&self) -> Option<&str> {
        self.refusal.as_ref().map(|refusal| refusal.why.as_str())
    }

    fn forgive(&mut self, age: Duration) {
        self.refusal.take_if(|refusal| refusal.at.elapsed() >= age);
    }

    fn compare(&mut self, limit: usize) -> (Mended, bool) {
        let mended = Mended::default();
        let piece = match self.sweep.next(&*self.table, &self.written, limit) {
            Ok(piece) => piece,
            Err(error) => return (mended.and(Err(error)), true),
        };
        let mended = piece
            .drift
            .into_iter()
            .fold(mended, |mended, (key, wanted)| {
                mended.and(self.put(&key, wanted))
            });
        (mended, piece.done)
    }
}

/// A comparison of several mirrors that is under way, one after the other.
#[derive(Debug, Default)]
pub struct Round {
    /// Which is compared.
    at: usize,
}

impl Round {
    /// A piece of it, as [`Kept::compare`] has it. After the last it is ready to begin anew.
    pub fn next(&mut self, mirrors: &mut [&mut dyn Kept], limit: usize) -> (Mended, bool) {
        let Some(mirror) = mirrors.get_mut(self.at) else {
            return (Mended::default(), true);
        };
        let (mended, done) = mirror.compare(limit);
        self.at += usize::from(done);
        let all = self.at >= mirrors.len();
        if all {
            self.at = 0;
        }
        (mended, all)
    }

    /// All of it.
    pub fn all(mirrors: &mut [&mut dyn Kept]) -> Mended {
        let mut round = Self::default();
        let mut sum = Mended::default();
        loop {
            let (mended, done) = round.next(mirrors, usize::MAX);
            sum = [sum, mended].into_iter().sum();
            if done {
                return sum;
            }
        }
    }
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Mended {
    /// Entries that were set right.
    pub entries: usize,
    /// The first that could not be.
    pub failed: Option<TableError>,
}

impl Mended {
    /// With that of one more entry.
    fn and(mut self, done: Result<(), TableError>) -> Self {
        match done {
            Ok(()) => self.entries += 1,
            Err(error) => self.failed = self.failed.or(Some(error)),
        }
        self
    }
}

impl std::iter::Sum for Mended {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            entries: sum.entries + one.entries,
            failed: sum.failed.or(one.failed),
        })
    }
}

/// Does all; gives the sum, or the first failure.
fn all(results: impl IntoIterator<Item = Result<usize, TableError>>) -> Result<usize, TableError> {
    let mut sum = Ok(0);
    for result in results {
        sum = match (sum, result) {
            (Ok(sum), Ok(n)) => Ok(sum + n),
            (Err(first), _) | (Ok(_), Err(first)) => Err(first),
        };
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::datapath::{Faults, MemoryTable};

    type Contents = BTreeMap<u8, u8>;

    fn contents() -> impl Strategy<Value = Contents> {
        prop::collection::btree_map(0_u8..40, 0_u8..3, 0..30)
    }

    fn mirror(entries: &Contents) -> (MemoryTable<u8, u8>, Mirror<u8, u8>) {
        let table = MemoryTable::new("T", 256, Faults::NONE);
        for (key, value) in entries {
            table.clone().set(key, value).unwrap();
        }
        (table.clone(), Mirror::open(Box::new(table)).unwrap())
    }

    fn held(table: &MemoryTable<u8, u8>) -> Contents {
        table.entries().unwrap().into_iter().collect()
    }

    proptest! {
        #[test]
        fn failures_are_made_good_by_the_next_try(
            before in contents(), desired in contents(), seed in any::<u64>(),
        ) {
            let (table, mut mirror) = mirror(&before);
            table.set_faults(Faults::new(seed, 40));
            while mirror.insert(&desired).and(mirror.retain(&desired)).is_err() {
                prop_assert_eq!(mirror.written(), &held(&table));
            }
            prop_assert_eq!(held(&table), desired);
        }

        #[test]
        fn a_sweep_in_pieces_finds_what_an_outside_hand_did_and_nothing_else(
            ours in contents(), theirs in contents(), limit in 1_usize..8,
        ) {
            let (table, mut mirror) = mirror(&ours);
            for key in ours.keys() {
                table.clone().remove(key).unwrap();
            }
            for (key, value) in &theirs {
                table.clone().set(key, value).unwrap();
            }
            let keys = ours.keys().chain(theirs.keys());
            let differing: std::collections::BTreeSet<&u8> =
                keys.filter(|key| ours.get(key) != theirs.get(key)).collect();
            let (mut sweep, mut found) = (Sweep::default(), Contents::new());
            loop {
                let piece = sweep.next(&table, mirror.written(), limit).unwrap();
                for (key, wanted) in &piece.drift {
                    prop_assert_eq!(wanted, &ours.get(key).copied());
                    prop_assert!(found.insert(*key, 0).is_none(), "{} twice", key);
                }
                if piece.done {
                    break;
                }
            }
            prop_assert!(found.keys().eq(differing.iter().copied()));
            let mended = Round::all(&mut [&mut mirror]);
            prop_assert!(mended.failed.is_none());
            prop_assert_eq!(mended.entries, differing.len());
            prop_assert_eq!(held(&table), ours);
        }
    }
    #[test]
    fn several_mirrors_are_compared_piece_by_piece() {
        let ours: Contents = (0..20).map(|n| (n, 1)).collect();
        let mut pairs = [mirror(&ours), mirror(&Contents::new()), mirror(&ours)];
        for (table, _) in &mut pairs {
            table.set(&30, &2).unwrap();
            table.remove(&3).unwrap();
        }
        let mut round = Round::default();
        let mut turn = |limit| {
            let mut mirrors = pairs.each_mut().map(|(_, mirror)| mirror as &mut dyn Kept);
            round.next(&mut mirrors, limit)
        };
        let (mut pieces, mut entries) = (1, 0);
        loop {
            let (mended, done) = turn(4);
            entries += mended.entries;
            if done {
                break;
            }
            pieces += 1;
        }
        assert!(pieces >= 2 * 20 / 4, "{pieces}");
        assert_eq!(entries, 2 + 1 + 2);
        let again = Round::all(&mut pairs.each_mut().map(|(_, mirror)| mirror as &mut dyn Kept));
        assert_eq!(again.entries, 0);
    }
}
