//! What the maps hold for a connection to a Service.

use std::net::SocketAddr;

use proxy_common::{backends::SlotKey, frontends::Frontend, node::ADDRESS_NODE_PORT};

use super::Asked;
use crate::{
    ctl::{CtlError, place},
    datapath::{Maps, Table as _},
    service::{
        ServiceTables,
        key::FrontendKey,
        pool::{server4, server6},
    },
};

/// The exact frontend, else the `NodePort` if the address serves them.
pub(super) fn frontend(
    maps: &Maps,
    asked: &Asked,
) -> Result<Option<(FrontendKey, Frontend)>, CtlError> {
    let (address, port) = (asked.to.ip(), asked.to.port());
    let exact = FrontendKey::new(address, port, asked.protocol);
    if let Some(found) = get(maps, &exact)? {
        return Ok(Some((exact, found)));
    }
    if place::node_flags(maps, address)? & ADDRESS_NODE_PORT == 0 {
        return Ok(None);
    }
    let node_port = FrontendKey::node_port(address.is_ipv6(), port, asked.protocol);
    Ok(get(maps, &node_port)?.map(|found| (node_port, found)))
}

fn get(maps: &Maps, key: &FrontendKey) -> Result<Option<Frontend>, CtlError> {
    Ok(match key {
        FrontendKey::V4(key) => maps.frontends4.get(key)?,
        FrontendKey::V6(key) => maps.frontends6.get(key)?,
    })
}

/// The backends of a set, with their ids.
pub(super) fn backends(
    maps: &Maps,
    set: u32,
    count: u32,
) -> Result<Vec<(u32, SocketAddr)>, CtlError> {
    let tables = ServiceTables::from(maps);
    let mut found = Vec::new();
    for index in 0..count {
        let slot = SlotKey { set, index };
        let Some(id) = tables.slots.get(&slot)? else {
            continue;
        };
        let v4 = tables.backends4.get(&id)?.map(|backend| server4(&backend));
        let server = match v4 {
            Some(server) => Some(server),
            None => tables.backends6.get(&id)?.map(|backend| server6(&backend)),
        };
        found.extend(server.map(|s| (id, SocketAddr::new(s.address, s.port))));
    }
    found.sort_by_key(|(_, backend)| *backend);
    Ok(found)
}
