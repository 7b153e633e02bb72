//! What `MAGLEV` is known to hold: of each table how it was made, and a sum of each chunk. The tables themselves would take as
//! much memory again.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
};

use proxy_common::maglev::{CHUNK, MaglevChunk, MaglevKey, chunks};

use crate::datapath::{
    mirror::Written,
    table::{Cursor, Table, TableError},
};

/// A table: its set, and how many places it has.
pub type TableId = (u32, u16);

/// The tables in the map.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    known: BTreeMap<TableId, Known>,
    /// Chunks of all tables.
    entries: usize,
}

#[derive(Clone, Debug)]
struct Known {
    /// What it was made of; 0 if that is not known.
    of: u64,
    /// Of each chunk that is there.
    sums: Box<[Option<u32>]>,
    /// Somebody else has changed it.
    touched: bool,
}

impl Tables {
    /// Reads the map.
    pub fn read(table: &dyn Table<MaglevKey, MaglevChunk>) -> Result<Self, TableError> {
        let mut tables = Self::default();
        for (key, chunk) in table.entries()? {
            if key.set != 0 && key.chunk < chunks(key.size) {
                tables.note(key, Some(sum(&chunk)));
            }
        }
        Ok(tables)
    }

    /// How many chunks there are.
    pub const fn entries(&self) -> usize {
        self.entries
    }

    /// All tables, whole or not.
    pub fn ids(&self) -> impl Iterator<Item = TableId> {
        self.known.keys().copied()
    }

    /// Whether there is something of a table.
    pub fn has(&self, id: TableId) -> bool {
        self.known.contains_key(&id)
    }

    /// Whether programs may be led to a table.
    pub fn is_whole(&self, id: TableId) -> bool {
        let known = self.known.get(&id);
        known.is_some_and(|known| known.sums.iter().all(Option::is_some))
    }

    /// Whether a table was made of this.
    pub fn is_of(&self, id: TableId, of: u64) -> bool {
        self.known.get(&id).is_some_and(|known| known.of == of)
    }

    /// Somebody else has changed a table: it is not what it was made of any more.
    pub fn doubt(&mut self, id: TableId) {
        if let Some(known) = self.known.get_mut(&id) {
            (known.of, known.touched) = (0, true);
        }
    }

    /// Writes what of a table is not as it shall be: slots, by place. Gives how many writes that took. A reader sees of each
    /// place what was there or what shall be, and both lead to the set.
    pub fn write(
        &mut self,
        map: &mut dyn Table<MaglevKey, MaglevChunk>,
        set: u32,
        of: u64,
        slots: &[u16],
    ) -> Result<usize, TableError> {
        let size = u16::try_from(slots.len()).unwrap_or(0);
        let touched = self.known.get(&(set, size)).is_some_and(|k| k.touched);
        self.change(set, size, 0);
        let mut writes = 0;
        for (number, places) in (0..).zip(slots.chunks(CHUNK as usize)) {
            let key = MaglevKey {
                set,
                size,
                chunk: number,
            };
            let mut chunk = MaglevChunk {
                slots: [0; CHUNK as usize],
            };
            chunk.slots[..places.len()].copy_from_slice(places);
            if touched || self.get(&key) != Some(sum(&chunk)) {
                map.set(&key, &chunk)?;
                self.note(key, Some(sum(&chunk)));
                writes += 1;
            }
        }
        self.change(set, size, of);
        Ok(writes)
    }

    /// From here on a table is what was made of this.
    fn change(&mut self, set: u32, size: u16, of: u64) {
        if let Some(known) = self.known.get_mut(&(set, size)) {
            known.of = of;
            known.touched &= of == 0;
        }
    }

    /// Removes a table that programs are led to no more. Gives how many writes that took.
    pub fn remove(
        &mut self,
        map: &mut dyn Table<MaglevKey, MaglevChunk>,
        (set, size): TableId,
    ) -> Result<usize, TableError> {
        let mut writes = 0;
        for chunk in 0..chunks(size) {
            let key = MaglevKey { set, size, chunk };
            if self.get(&key).is_some() {
                map.remove(&key)?;
                self.note(key, None);
                writes += 1;
            }
        }
        self.known.remove(&(set, size));
        Ok(writes)
    }

    fn note(&mut self, key: MaglevKey, sum: Option<u32>) {
        let known = self.known.entry((key.set, key.size));
        let known = known.or_insert_with(|| Known {
            of: 0,
            sums: vec![None; usize::from(chunks(key.size))].into(),
            touched: false,
        });
        if let Some(known) = known.sums.get_mut(usize::from(key.chunk)) {
            self.entries += usize::from(sum.is_some());
            self.entries -= usize::from(known.is_some());
            *known = sum;
        }
    }
}

fn sum(chunk: &MaglevChunk) -> u32 {
    let mut hasher = DefaultHasher::new();
    chunk.slots.hash(&mut hasher);
    hasher.finish() as u32
}

impl Written<MaglevKey, u32> for Tables {
    fn len(&self) -> usize {
        self.entries
    }

    fn get(&self, key: &MaglevKey) -> Option<u32> {
        let known = self.known.get(&(key.set, key.size))?;
        known.sums.get(usize::from(key.chunk)).copied().flatten()
    }

    fn after(&self, key: Option<&MaglevKey>, limit: usize) -> Vec<MaglevKey> {
        let from = key.map_or((0, 0), |key| (key.set, key.size));
        let tables = self.known.range(from..);
        let all = tables.flat_map(|((set, size), known)| {
            let there = (0..).zip(&known.sums).filter(|(_, sum)| sum.is_some());
            there.map(move |(chunk, _)| MaglevKey {
                set: *set,
                size: *size,
                chunk,
            })
        });
        all.filter(|next| key.is_none_or(|key| next > key))
            .take(limit)
            .collect()
    }
}

/// The map, as sums of its chunks: for the comparison.
pub struct Sums<'a>(pub &'a mut dyn Table<MaglevKey, MaglevChunk>);

impl Table<MaglevKey, u32> for Sums<'_> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn capacity(&self) -> u32 {
        self.0.capacity()
    }

    fn get(&self, key: &MaglevKey) -> Result<Option<u32>, TableError> {
        Ok(self.0.get(key)?.as_ref().map(sum))
    }

    fn set(&mut self, key: &MaglevKey, _: &u32) -> Result<(), TableError> {
        Err(TableError::Kernel {
            operation: "write",
            map: self.name().to_owned(),
            key: format!("{key:?}"),
            source: io::Error::other("a sum makes no chunk: the table is to be built anew"),
        })
    }

    fn remove(&mut self, key: &MaglevKey) -> Result<(), TableError> {
        self.0.remove(key)
    }

    fn entries(&self) -> Result<Vec<(MaglevKey, u32)>, TableError> {
        let entries = self.0.entries()?.into_iter();
        Ok(entries.map(|(key, chunk)| (key, sum(&chunk))).collect())
    }

    fn page(
        &self,
        cursor: &mut Cursor<MaglevKey>,
        limit: usize,
    ) -> Result<Vec<(MaglevKey, u32)>, TableError> {
        let page = self.0.page(cursor, limit)?.into_iter();
        Ok(page.map(|(key, chunk)| (key, sum(&chunk))).collect())
    }
}
