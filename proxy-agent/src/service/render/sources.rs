//! `dump sources`: who may use load balancers' addresses.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::{Names, name};
use crate::{
    datapath::table::TableError,
    service::{ServiceTables, sources::Source},
};

/// A range of clients of a Service port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SourceRow {
    /// The Service port, `namespace/name:port`, or the id.
    pub service: String,
    /// The range.
    pub range: IpNetwork,
    /// Id of the Service port.
    pub id: u32,
}

/// All ranges, sorted by Service port.
pub fn rows(tables: &ServiceTables, names: &Names) -> Result<Vec<SourceRow>, TableError> {
    let ranges = all(tables)?.into_iter();
    let mut rows: Vec<SourceRow> = ranges
        .filter_map(|source| {
            Some(SourceRow {
                service: name(names, source.service()),
                range: source.range()?,
                id: source.service(),
            })
        })
        .collect();
    rows.sort();
    Ok(rows)
}

/// How many ranges each Service port has, by id.
pub(super) fn counts(tables: &ServiceTables) -> Result<BTreeMap<u32, usize>, TableError> {
    let mut counts = BTreeMap::new();
    for source in all(tables)? {
        *counts.entry(source.service()).or_default() += 1;
    }
    Ok(counts)
}

fn all(tables: &ServiceTables) -> Result<Vec<Source>, TableError> {
    let v4 = tables.sources4.entries()?.into_iter();
    let v6 = tables.sources6.entries()?.into_iter();
    let v4 = v4.map(|(key, _)| Source::V4(key));
    Ok(v4.chain(v6.map(|(key, _)| Source::V6(key))).collect())
}
