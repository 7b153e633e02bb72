//! `dump backends`: each backend, and the Service ports that use it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

use serde::Serialize;

use super::{Names, backends, name, sets, socket_and_protocol};
use crate::{datapath::table::TableError, service::ServiceTables};

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendRow {
    /// Address, port and protocol that serve.
    pub backend: String,
    /// Runs on this node.
    pub local: bool,
    /// Service ports that use it.
    pub services: Vec<String>,
    /// Its id.
    pub id: u32,
}

/// All backends, sorted by address.
pub fn rows(tables: &ServiceTables, names: &Names) -> Result<Vec<BackendRow>, TableError> {
    let users = users(tables)?;
    let called = |id: &u32| -> BTreeSet<String> {
        let users = users.get(id).into_iter().flatten();
        users.map(|service| name(names, *service)).collect()
    };
    let mut known: Vec<_> = backends(tables)?.into_iter().collect();
    known.sort_by_key(|(id, backend)| (*backend, *id));
    let rows = known.into_iter().map(|(id, backend)| BackendRow {
        backend: socket_and_protocol(&backend),
        local: backend.0.local,
        services: called(&id).into_iter().collect(),
        id,
    });
    Ok(rows.collect())
}

/// Where backends serve: address and port, protocol; with their ids.
pub fn places(tables: &ServiceTables) -> Result<HashMap<(SocketAddr, u8), u32>, TableError> {
    let known = backends(tables)?.into_iter();
    let places = known.map(|(id, (server, protocol))| {
        let at = SocketAddr::new(server.address, server.port);
        ((at, protocol), id)
    });
    Ok(places.collect())
}

/// The Service ports that use each backend.
pub fn users(tables: &ServiceTables) -> Result<BTreeMap<u32, BTreeSet<u32>>, TableError> {
    let sets = sets(tables)?;
    let v4 = tables.frontends4.entries()?.into_iter().map(|(_, f)| f);
    let v6 = tables.frontends6.entries()?.into_iter().map(|(_, f)| f);
    let mut users: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for frontend in v4.chain(v6) {
        for set in [frontend.internal, frontend.external] {
            for (_, id) in sets
                .get(&set.id)
                .into_iter()
                .flat_map(|s| s.range(..set.count))
            {
                let users = users.entry(*id).or_default();
                users.insert(frontend.service);
            }
        }
    }
    Ok(users)
}
