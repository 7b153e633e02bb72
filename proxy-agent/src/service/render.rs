//! How the maps of Services look: one renderer for `proxyctl dump`, the golden scenarios and the output of
//! tests that failed. It reads the maps, whoever wrote them, and adds names where it is given some.

pub mod backends;
pub mod maglev;
pub mod services;
pub mod sources;

use std::collections::BTreeMap;

use proxy_common::backends::{Backend4, Backend6};

use super::{
    ServiceTables,
    choice::Server,
    pool::{server4, server6},
};
use crate::{datapath::table::TableError, model::Protocol};

/// Names of Service ports by id, as [`ServiceSync::names`](super::ServiceSync::names) gives them.
pub type Names = BTreeMap<u32, String>;

/// A backend and its protocol.
type Known = (Server, u8);

/// All backends by id.
fn backends(tables: &ServiceTables) -> Result<BTreeMap<u32, Known>, TableError> {
    let v4 = tables.backends4.entries()?.into_iter();
    let v4 = v4.map(|(id, b): (u32, Backend4)| (id, (server4(&b), b.protocol)));
    let v6 = tables.backends6.entries()?.into_iter();
    let v6 = v6.map(|(id, b): (u32, Backend6)| (id, (server6(&b), b.protocol)));
    Ok(v4.chain(v6).collect())
}

/// The slots of each set, in order.
fn sets(tables: &ServiceTables) -> Result<BTreeMap<u32, BTreeMap<u32, u32>>, TableError> {
    let mut sets: BTreeMap<u32, BTreeMap<u32, u32>> = BTreeMap::new();
    for (key, id) in tables.slots.entries()? {
        sets.entry(key.set).or_default().insert(key.index, id);
    }
    Ok(sets)
}

fn name(names: &Names, id: u32) -> String {
    names.get(&id).cloned().unwrap_or_else(|| format!("#{id}"))
}

fn socket(server: &Server) -> String {
    std::net::SocketAddr::new(server.address, server.port).to_string()
}

fn socket_and_protocol((server, protocol): &Known) -> String {
    format!("{}/{}", socket(server), Protocol::name_of(*protocol))
}
