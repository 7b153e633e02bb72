//! `dump maps`: every map, its fullness and its pin.

use serde::Serialize;

use crate::{
    ctl::output::Row,
    datapath::{Maps, Pins, TableError},
};

/// One map.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MapRow {
    /// Name.
    pub name: String,
    /// Type, as the kernel names it.
    pub r#type: &'static str,
    /// Entries; none if the kernel does not tell.
    pub entries: Option<u32>,
    /// Capacity.
    pub max_entries: u32,
    /// Id in the kernel.
    pub id: u32,
    /// Where it is pinned.
    pub pin: String,
}

impl MapRow {
    fn pressure(&self) -> String {
        self.entries.map_or_else(String::new, |entries| {
            let capacity = f64::from(self.max_entries.max(1));
            format!("{:.1}%", f64::from(entries) / capacity * 100.0)
        })
    }
}

impl Row for MapRow {
    const KIND: &'static str = "MapList";
    const COLUMNS: &'static [&'static str] = &["NAME", "TYPE", "ENTRIES", "MAX", "PRESSURE"];
    const WIDE: &'static [&'static str] = &["ID", "PIN"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.r#type.to_owned(),
            self.entries.map_or_else(String::new, |n| n.to_string()),
            self.max_entries.to_string(),
            self.pressure(),
        ]
    }

    fn wide(&self) -> Vec<String> {
        vec![self.id.to_string(), self.pin.clone()]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// All maps, by name.
pub fn rows(maps: &Maps, pins: &Pins) -> Result<Vec<MapRow>, TableError> {
    let mut rows: Vec<_> = maps
        .usage()?
        .into_iter()
        .map(|map| MapRow {
            pin: pins.map(&map.name).display().to_string(),
            name: map.name,
            r#type: map.kind,
            entries: map.entries,
            max_entries: map.max_entries,
            id: map.id,
        })
        .collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}
