//! `dump maglev`: who has how many places of each Maglev table.

use std::collections::BTreeMap;

use proxy_common::maglev::CHUNK;
use serde::Serialize;

use super::{Names, backends, name, sets, socket_and_protocol};
use crate::{datapath::table::TableError, service::ServiceTables};

/// A backend's share of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MaglevRow {
    /// The Service port, `namespace/name:port`, or the id.
    pub service: String,
    /// Id of the backend set.
    pub set: u32,
    /// Places of the table.
    pub size: u16,
    /// Frontends are led to the table.
    pub used: bool,
    /// The backend, `address:port/protocol`, or the number of a slot that the set has not.
    pub backend: String,
    /// Its places.
    pub places: u32,
}

/// The shares of all tables, by Service port.
pub fn rows(tables: &ServiceTables, names: &Names) -> Result<Vec<MaglevRow>, TableError> {
    let (backends, sets) = (backends(tables)?, sets(tables)?);
    let mut services: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
    let v4 = tables.frontends4.entries()?.into_iter().map(|(_, f)| f);
    let v6 = tables.frontends6.entries()?.into_iter().map(|(_, f)| f);
    for frontend in v4.chain(v6) {
        let known = services.entry(frontend.external.id);
        let (_, size) = known.or_insert((frontend.service, 0));
        *size = frontend.maglev.max(*size);
    }
    let rows = shares(tables)?
        .into_iter()
        .map(|((set, size, slot), places)| {
            let service = services.get(&set).copied();
            let id = sets.get(&set).and_then(|slots| slots.get(&slot));
            let backend = id.and_then(|id| backends.get(id));
            MaglevRow {
                service: service.map_or_else(|| "-".to_owned(), |(id, _)| name(names, id)),
                set,
                size,
                used: service.is_some_and(|(_, used)| used == u32::from(size)),
                backend: backend.map_or_else(|| format!("slot {slot}"), socket_and_protocol),
                places,
            }
        });
    let mut rows: Vec<MaglevRow> = rows.collect();
    rows.sort();
    Ok(rows)
}

/// How many places each slot has in each table: by set, size and slot.
fn shares(tables: &ServiceTables) -> Result<BTreeMap<(u32, u16, u32), u32>, TableError> {
    let mut shares = BTreeMap::new();
    for (key, chunk) in tables.maglev.entries()? {
        let first = u32::from(key.chunk) * CHUNK;
        let places = u32::from(key.size).saturating_sub(first).min(CHUNK);
        for slot in &chunk.slots[..places as usize] {
            let share = shares.entry((key.set, key.size, u32::from(*slot)));
            *share.or_default() += 1;
        }
    }
    Ok(shares)
}
