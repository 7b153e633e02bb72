//! Reads the maps at the start, to go on from what the last agent left.

use proxy_common::backends::SlotKey;

use super::{Image, Set};
use crate::{
    datapath::table::TableError,
    service::{ServiceTables, maglev, sources::Source, vips::Vips},
};

/// A slot index beyond this is not ours.
const SLOT_MAX: usize = 1 << 20;

impl Image {
    /// Reads all maps. Slots that cannot belong to a set are returned besides.
    pub fn read(tables: &ServiceTables) -> Result<(Self, Vec<SlotKey>), TableError> {
        let mut image = Self {
            frontends4: tables.frontends4.entries()?.into_iter().collect(),
            frontends6: tables.frontends6.entries()?.into_iter().collect(),
            vips: Vips::read(tables)?,
            maglev: maglev::Tables::read(&*tables.maglev)?,
            ..Self::default()
        };
        for (id, backend) in sorted(tables.backends4.entries()?) {
            image.pool4.set(id, backend);
        }
        for (id, backend) in sorted(tables.backends6.entries()?) {
            image.pool6.set(id, backend);
        }
        let mut stray = Vec::new();
        for (key, id) in sorted(tables.slots.entries()?) {
            let index = key.index as usize;
            if index >= SLOT_MAX || id == 0 || key.set == 0 {
                stray.push(key);
                continue;
            }
            image.restore_slot(key.set, index, id);
        }
        image.members.extend(tables.members.entries()?);
        for (key, _) in tables.sources4.entries()? {
            image.sources.insert(Source::V4(key));
        }
        for (key, _) in tables.sources6.entries()? {
            image.sources.insert(Source::V6(key));
        }
        let counts: Vec<_> = image.frontends().map(|(_, f)| f).collect();
        for set in counts.iter().flat_map(|f| [f.internal, f.external]) {
            if set.id != 0 && set.count != 0 {
                let entry: &mut Set = image.sets.entry(set.id, Set::default);
                entry.used = entry.used.max(set.count);
            }
        }
        Ok((image, stray))
    }

    fn restore_slot(&mut self, set: u32, index: usize, id: u32) {
        let entry = self.sets.entry(set, Set::default);
        entry.grow(index + 1);
        entry.slots[index] = id;
        self.slot_count += 1;
        self.use_backend(id);
    }

    /// Highest ids in use: Service ports, sets, backends.
    pub fn highest_ids(&self) -> [u32; 3] {
        let frontends = || self.frontends().map(|(_, f)| f);
        // A range that is still to be removed must not become another Service's.
        let services = frontends()
            .map(|f| f.service)
            .chain(self.sources.services());
        let sets = frontends().flat_map(|f| [f.internal.id, f.external.id]);
        let tables = self.maglev.ids().map(|(set, _)| set);
        let backends = self.pool4.ids().chain(self.pool6.ids());
        [
            services.max().unwrap_or(0),
            sets.chain(self.sets()).chain(tables).max().unwrap_or(0),
            backends.max().unwrap_or(0),
        ]
    }
}

/// Tables by id are quickly filled in the order of the ids.
fn sorted<K: Ord + Copy, V>(mut entries: Vec<(K, V)>) -> Vec<(K, V)> {
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}
