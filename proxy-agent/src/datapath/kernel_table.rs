//! A [`Table`] over a map in the kernel.

use std::{collections::BTreeMap, fmt::Debug, io, marker::PhantomData, path::Path};

use aya::Pod;

use super::{
    bpfsys::{map, object},
    following::Next,
    handle::{MapHandle, MapKind, OpenMap},
    table::{Cursor, Table, TableError},
};

/// Pairs that one batch reads; a hash bucket that holds more makes the batch grow.
const BATCH: usize = 4096;

/// A hash, LRU, array or prefix map in the kernel, with its types.
///
/// A slot of an array counts as absent while all its bytes are zero, and [`Table::remove`] makes them so.
#[derive(Clone, Debug)]
pub struct KernelTable<K, V> {
    pub(super) map: MapHandle,
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

    pub(super) fn error(
        &self,
        operation: &'static str,
        key: Option<&K>,
        source: io::Error,
    ) -> TableError {
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

    /// Shows all entries to `look`, batch by batch: no more than a batch is held in memory.
    pub fn visit(&self, mut look: impl FnMut(&K, &V)) -> Result<(), TableError> {
        match self.visit_batches(&mut look) {
            Err(e) if no_batches(&e) => {
                let pairs = Self::read_one_by_one(&self.map.open());
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

    /// Writes what is of this key, before to what follows.
    fn write<T>(&self, key: &K, write: impl Fn(&OpenMap) -> io::Result<T>) -> io::Result<T> {
        let mut next = self.map.following().write();
        next.as_mut().map_or(Ok(()), |next| next.write(&write))?;
        let written = self.map.write_alone(&mut next, &write);
        if let (Err(_), Some(next)) = (&written, &mut *next) {
            self.undo(key, next);
        }
        written
    }

    /// Has what follows hold of a key what this one holds.
    fn undo(&self, key: &K, next: &mut Next<OpenMap>) {
        let ours = self.get(key);
        let is_array = self.map.kind() == MapKind::Array;
        next.undo(|next| match ours {
            Ok(Some(value)) => map::update(next, key, &value),
            Ok(None) if is_array => map::update(next, key, &map::zeroed::<V>()),
            Ok(None) => map::delete(next, key).map(drop),
            Err(error) => Err(io::Error::other(error)),
        });
    }

    fn read_batches(&self) -> io::Result<Vec<(K, V)>> {
        let mut pairs = Vec::new();
        self.visit_batches(&mut |key, value| pairs.push((*key, *value)))?;
        Ok(pairs)
    }

    fn visit_batches(&self, look: &mut impl FnMut(&K, &V)) -> io::Result<()> {
        let mut cursor = Cursor::default();
        while !cursor.done {
            for (key, value) in Self::read_batch(&self.map.open(), &mut cursor, BATCH)? {
                look(&key, &value);
            }
        }
        Ok(())
    }

    /// The next batch, of so many entries or, where a bucket holds more, of more.
    fn read_batch(map: &OpenMap, cursor: &mut Cursor<K>, limit: usize) -> io::Result<Vec<(K, V)>> {
        let capacity = map.info().max_entries.max(1) as usize;
        let mut size = limit.min(BATCH).min(capacity);
        loop {
            let mut keys = vec![map::zeroed::<K>(); size];
            let mut values = vec![map::zeroed::<V>(); size];
            let started = !cursor.position.is_empty();
            let mut position = cursor.position.clone();
            position.resize(size_of::<K>().max(8), 0);
            let read = map::lookup_batch(map, &mut position, started, &mut keys, &mut values);
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

    /// Writes entries by batches; gives how many were written until one was refused. Few are not worth a batch, and where a
    /// map follows each is written to both.
    fn set_batches(&self, entries: &[(K, V)]) -> usize {
        let mut done = 0;
        for batch in entries.chunks(BATCH).filter(|batch| batch.len() > 1) {
            let mut next = self.map.following().write();
            let map = self.map.open();
            if next.is_some() || !map.batches() {
                break;
            }
            let keys: Vec<K> = batch.iter().map(|(key, _)| *key).collect();
            let values: Vec<V> = batch.iter().map(|(_, value)| *value).collect();
            let write = |map: &OpenMap| map::update_batch(map, &keys, &values);
            let (written, result) = self.map.write_alone(&mut next, write);
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
    fn read_one_by_one(map: &OpenMap) -> io::Result<Vec<(K, V)>> {
        let mut pairs = BTreeMap::new();
        let mut key = map::next_key::<K>(map, None)?;
        while let Some(current) = key {
            if let Some(value) = map::lookup(map, &current)? {
                pairs.insert(current, value);
            }
            key = map::next_key(map, Some(&current))?;
        }
        Ok(pairs.into_iter().collect())
    }

    /// About so many entries more; all that are left where there are no batches.
    pub(super) fn read_page(
        map: &OpenMap,
        cursor: &mut Cursor<K>,
        limit: usize,
    ) -> io::Result<Vec<(K, V)>> {
        match Self::read_batch(map, cursor, limit) {
            Err(e) if no_batches(&e) => {
                cursor.done = true;
                Self::read_one_by_one(map)
            }
            read => read,
        }
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
        let result = self.write(key, |map| map::update(map, key, value));
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
        let is_array = self.map.kind() == MapKind::Array;
        let result = self.write(key, |map| {
            if is_array {
                map::update(map, key, &map::zeroed::<V>())
            } else {
                map::delete(map, key).map(drop)
            }
        });
        result.map_err(|e| self.error("remove", Some(key), e))
    }

    fn entries(&self) -> Result<Vec<(K, V)>, TableError> {
        let read = match self.read_batches() {
            Err(e) if no_batches(&e) => Self::read_one_by_one(&self.map.open()),
            read => read,
        };
        let mut pairs = read.map_err(|e| self.error("list", None, e))?;
        pairs.retain(|(_, value)| !self.is_absent(value));
        Ok(pairs)
    }

    fn page(&self, cursor: &mut Cursor<K>, limit: usize) -> Result<Vec<(K, V)>, TableError> {
        let read = Self::read_page(&self.map.open(), cursor, limit);
        let mut pairs = read.map_err(|e| self.error("list", None, e))?;
        pairs.retain(|(_, value)| !self.is_absent(value));
        Ok(pairs)
    }
}

fn no_batches(error: &io::Error) -> bool {
    const ENOTSUPP: i32 = 524;
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP)
    )
}
