//! A [`Table`] over a map in the kernel.

use std::{
    collections::BTreeMap, fmt::Debug, io, marker::PhantomData, os::fd::OwnedFd, path::Path,
};

use aya::Pod;

use super::{
    bpfsys::{map, object},
    handle::{MapHandle, MapKind},
    table::{Cursor, Table, TableError},
};

/// Pairs that one batch reads; a hash bucket that holds more makes the batch grow.
const BATCH: usize = 4096;

/// A hash, LRU, array or prefix map in the kernel, with its types.
///
/// A slot of an array counts as absent while all its bytes are zero, and [`Table::remove`] makes them so.
#[derive(Clone, Debug)]
pub struct KernelTable<K, V> {
    map: MapHandle,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Pod + Debug + Ord, V: Pod + Debug + PartialEq> KernelTable<K, V> {
    /// Gives a map its types, whose sizes must be those of the map.
    pub(super) fn new(map: MapHandle) -> io::Result<Self> {
        map.check_sizes(size_of::<K>(), size_of::<V>())?;
        Ok(Self {
            map,
            types: PhantomData,
        })
    }

    /// The map that is pinned at a path.
    pub fn open(path: &Path) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::new(MapHandle::new(&name, object::open_map(path)?)?)
    }

    /// The value that a program would find: in a prefix map that of the longest prefix which holds the key.
    pub fn lookup(&self, key: &K) -> Result<Option<V>, TableError> {
        map::lookup(self.map.open(), key).map_err(|e| self.error("read", Some(key), e))
    }

    fn error(&self, operation: &'static str, key: Option<&K>, source: io::Error) -> TableError {
        let full = matches!(source.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC));
        if operation == "write" && full {
            return TableError::Full {
                operation,
                map: self.name().to_owned(),
                capacity: self.capacity(),
            };
        }
        TableError::Kernel {
            operation,
            map: self.name().to_owned(),
            key: key.map_or_else(String::new, |k| format!("{k:?}")),
            source,
        }
    }

    fn is_absent(&self, value: &V) -> bool {
        self.map.kind() == MapKind::Array && map::bytes_of(value).iter().all(|b| *b == 0)
    }

    /// Brings another map of the same types in step with this one, of arrays as far as that reaches; gives how many writes that took.
    pub(super) fn copy_to(&self, other: OwnedFd) -> Result<usize, TableError> {
        let failed = |error| self.error("copy", None, error);
        let mut other =
            Self::new(MapHandle::new(self.name(), other).map_err(failed)?).map_err(failed)?;
        let mut wanted: BTreeMap<K, V> = self.entries()?.into_iter().collect();
        if self.map.kind() == MapKind::Array {
            // What is beyond a smaller one is of no use.
            let capacity = other.capacity();
            wanted.retain(|key, _| index(key) < capacity);
        }
        let found: BTreeMap<K, V> = other.entries()?.into_iter().collect();
        let stale = found.keys().filter(|key| !wanted.contains_key(key));
        let mut writes = 0;
        for key in stale {
            other.remove(key)?;
            writes += 1;
        }
        let missing = wanted
            .iter()
            .filter(|(key, value)| found.get(key) != Some(value));
        for (key, value) in missing {
            other.set(key, value)?;
            writes += 1;
        }
        Ok(writes)
    }

    /// Adds what another map of the same types does not have.
    pub(super) fn add_to(&self, other: &OwnedFd) -> Result<(), TableError> {
        for (key, value) in self.entries()? {
            map::insert(other, &key, &value).map_err(|e| self.error("copy", Some(&key), e))?;
        }
        Ok(())
    }

    /// Its kind.
    pub(super) fn kind(&self) -> MapKind {
        self.map.kind()
    }

    /// The least capacity that all entries fit in: slots of an array keep their numbers.
    pub(super) fn reach(&self) -> Result<u32, TableError> {
        let entries = self.entries()?;
        if self.map.kind() != MapKind::Array {
            return Ok(entries.len() as u32);
        }
        let last = entries.iter().map(|(key, _)| index(key)).max();
        Ok(last.map_or(0, |index| index + 1))
    }

    /// Puts another map of the same types in the place of this one.
    pub(super) fn exchange(&self, other: OwnedFd) -> io::Result<()> {
        self.map.exchange(other)
    }

    /// Shows all entries to `look`, batch by batch: no more than a batch is held in memory.
    pub fn visit(&self, mut look: impl FnMut(&K, &V)) -> Result<(), TableError> {
        match self.visit_batches(&mut look) {
            Err(e) if no_batches(&e) => {
                let pairs = self.read_one_by_one();
                let pairs = pairs.map_err(|e| self.error("list", None, e))?;
                for (key, value) in &pairs {
                    look(key, value);
                }
                Ok(())
            }
            visited => visited.map_err(|e| self.error("list", None, e)),
        }
    }

    /// As [`Self::used`], where nobody but us writes: counts only what we have written to since. Going through the empty
    /// buckets of large maps is most of what an agent with nothing to do would do.
    pub(super) fn used_of_ours(&self) -> Result<u32, TableError> {
        self.map.open().tally.entries(|| self.used())
    }

    /// How many entries there are.
    pub(super) fn used(&self) -> Result<u32, TableError> {
        let mut used = 0;
        self.visit(|_, value| used += u32::from(!self.is_absent(value)))?;
        Ok(used)
    }

    /// Removes the entries of a hash map of which `which` is true when the map is walked, just before, and of what was
    /// then removed: programs may write in between, and what they wrote is put back. `removed` counts the entries, and is
    /// right also if a later one fails.
    pub fn remove_where(
        &mut self,
        which: impl Fn(&K, &V) -> bool,
        removed: &mut u64,
    ) -> Result<(), TableError> {
        let mut keys = Vec::new();
        self.visit(|key, value| {
            if which(key, value) {
                keys.push(*key);
            }
        })?;
        for key in keys {
            if self.get(&key)?.is_some_and(|value| which(&key, &value)) {
                *removed += u64::from(self.take_if(&key, &which)?);
            }
        }
        Ok(())
    }

    fn take_if(&self, key: &K, which: impl Fn(&K, &V) -> bool) -> Result<bool, TableError> {
        let map = self.map.open();
        let taken = map::take::<K, V>(&*map, key);
        map.tally.wrote();
        let Some(value) = taken.map_err(|e| self.error("remove", Some(key), e))? else {
            return Ok(false);
        };
        if which(key, &value) {
            return Ok(true);
        }
        // Should another one stand there by now, that is the newer.
        map::insert(&*map, key, &value).map_err(|e| self.error("write", Some(key), e))?;
        map.tally.wrote();
        Ok(false)
    }

    fn read_batches(&self) -> io::Result<Vec<(K, V)>> {
        let mut pairs = Vec::new();
        self.visit_batches(&mut |key, value| pairs.push((*key, *value)))?;
        Ok(pairs)
    }

    fn visit_batches(&self, look: &mut impl FnMut(&K, &V)) -> io::Result<()> {
        let mut cursor = Cursor::default();
        while !cursor.done {
            for (key, value) in self.read_batch(&mut cursor, BATCH)? {
                look(&key, &value);
            }
        }
        Ok(())
    }

    /// The next batch, of so many entries or, where a bucket holds more, of more.
    fn read_batch(&self, cursor: &mut Cursor<K>, limit: usize) -> io::Result<Vec<(K, V)>> {
        let mut size = limit.min(BATCH).min(self.capacity().max(1) as usize);
        loop {
            let mut keys = vec![map::zeroed::<K>(); size];
            let mut values = vec![map::zeroed::<V>(); size];
            let started = !cursor.position.is_empty();
            let mut position = cursor.position.clone();
            position.resize(size_of::<K>().max(8), 0);
            let read = map::lookup_batch(
                self.map.open(),
                &mut position,
                started,
                &mut keys,
                &mut values,
            );
            let (count, more) = match read {
                Err(e) if e.raw_os_error() == Some(libc::ENOSPC) => {
                    size *= 2;
                    continue;
                }
                read => read?,
            };
            cursor.position = position;
            cursor.done = !more;
            return Ok(keys.into_iter().zip(values).take(count).collect());
        }
    }

    /// Writes entries by batches; gives how many were written until one was refused. Few are not worth a batch.
    fn set_batches(&self, entries: &[(K, V)]) -> usize {
        let map = self.map.open();
        let mut done = 0;
        for batch in entries.chunks(BATCH).filter(|batch| batch.len() > 1) {
            if !map.batches() {
                break;
            }
            let keys: Vec<K> = batch.iter().map(|(key, _)| *key).collect();
            let values: Vec<V> = batch.iter().map(|(_, value)| *value).collect();
            let (written, result) = map::update_batch(&*map, &keys, &values);
            map.tally.wrote();
            done += written;
            if let Err(error) = result {
                if written == 0 && no_batches(&error) {
                    map.has_no_batches();
                }
                break;
            }
        }
        done
    }

    /// For maps and kernels without batches: a walk, begun anew if the key under the walker is removed.
    fn read_one_by_one(&self) -> io::Result<Vec<(K, V)>> {
        let mut pairs = BTreeMap::new();
        let mut key = map::next_key::<K>(self.map.open(), None)?;
        while let Some(current) = key {
            if let Some(value) = map::lookup(self.map.open(), &current)? {
                pairs.insert(current, value);
            }
            key = map::next_key(self.map.open(), Some(&current))?;
        }
        Ok(pairs.into_iter().collect())
    }
}

impl<K: Pod + Debug + Ord, V: Pod + Debug + PartialEq> Table<K, V> for KernelTable<K, V> {
    fn name(&self) -> &str {
        self.map.name()
    }

    fn capacity(&self) -> u32 {
        self.map.info().max_entries
    }

    fn get(&self, key: &K) -> Result<Option<V>, TableError> {
        if self.map.kind() == MapKind::Prefix {
            // The kernel would answer with the longest prefix, not with this one.
            let all = self.entries()?;
            return Ok(all.into_iter().find(|(k, _)| k == key).map(|(_, v)| v));
        }
        Ok(self.lookup(key)?.filter(|value| !self.is_absent(value)))
    }

    fn set(&mut self, key: &K, value: &V) -> Result<(), TableError> {
        let map = self.map.open();
        let result = map::update(&*map, key, value);
        map.tally.wrote();
        result.map_err(|e| self.error("write", Some(key), e))
    }

    fn set_all(&mut self, entries: &[(K, V)]) -> (usize, Result<(), TableError>) {
        let mut done = 0;
        while done < entries.len() {
            done += self.set_batches(&entries[done..]);
            // What stopped the batch is told by the write itself.
            if let Some((key, value)) = entries.get(done) {
                if let Err(error) = self.set(key, value) {
                    return (done, Err(error));
                }
                done += 1;
            }
        }
        (done, Ok(()))
    }

    fn remove(&mut self, key: &K) -> Result<(), TableError> {
        let map = self.map.open();
        let result = if self.map.kind() == MapKind::Array {
            map::update(&*map, key, &map::zeroed::<V>())
        } else {
            map::delete(&*map, key).map(drop)
        };
        map.tally.wrote();
        result.map_err(|e| self.error("remove", Some(key), e))
    }

    fn entries(&self) -> Result<Vec<(K, V)>, TableError> {
        let read = match self.read_batches() {
            Err(e) if no_batches(&e) => self.read_one_by_one(),
            read => read,
        };
        let mut pairs = read.map_err(|e| self.error("list", None, e))?;
        pairs.retain(|(_, value)| !self.is_absent(value));
        Ok(pairs)
    }

    fn page(&self, cursor: &mut Cursor<K>, limit: usize) -> Result<Vec<(K, V)>, TableError> {
        let read = match self.read_batch(cursor, limit) {
            Err(e) if no_batches(&e) => {
                cursor.done = true;
                self.read_one_by_one()
            }
            read => read,
        };
        let mut pairs = read.map_err(|e| self.error("list", None, e))?;
        pairs.retain(|(_, value)| !self.is_absent(value));
        Ok(pairs)
    }
}

/// The number of an array's slot, which is what its keys are.
fn index<K: Pod>(key: &K) -> u32 {
    let bytes = map::bytes_of(key).first_chunk().copied();
    bytes.map_or(0, u32::from_ne_bytes)
}

fn no_batches(error: &io::Error) -> bool {
    const ENOTSUPP: i32 = 524;
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP)
    )
}
