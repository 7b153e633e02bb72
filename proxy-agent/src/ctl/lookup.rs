//! What the maps hold for a connection to a Service.

use std::net::{IpAddr, SocketAddr};

use ipnetwork::IpNetwork;
use proxy_common::{
    backends::SlotKey,
    frontends::{
        BackendSet, FLAG_EXTERNAL_DROP, FLAG_HOST_PORT, FLAG_INTERNAL_DROP, FLAG_SOURCES, Frontend,
    },
    node::{ADDRESS_HOST_PORT, ADDRESS_LOCAL, ADDRESS_NODE_PORT},
};

use super::{CtlError, place};
use crate::{
    api::messages::Names,
    datapath::{Maps, Table as _},
    model::Protocol,
    service::{
        ServiceTables,
        key::FrontendKey,
        pool::{server4, server6},
        render::sources,
    },
};

/// One connection that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Who connects.
    pub client: IpAddr,
    /// Where to.
    pub to: SocketAddr,
    /// By what.
    pub protocol: Protocol,
}

/// The set that serves a client inside of the cluster or outside, its name, and whether it drops where it is empty.
pub const fn set(frontend: &Frontend, inside: bool) -> (&'static str, BackendSet, bool) {
    if inside {
        let drops = frontend.flags & FLAG_INTERNAL_DROP != 0;
        ("internal", frontend.internal, drops)
    } else {
        let drops = frontend.flags & FLAG_EXTERNAL_DROP != 0;
        ("external", frontend.external, drops)
    }
}

/// As the programs find it (`proxy_ebpf::frontend`): a Service's own, a `NodePort`, a `hostPort` on this
/// address, one on all addresses. Loopback serves processes of this node only.
pub fn frontend(maps: &Maps, asked: &Asked) -> Result<Option<(FrontendKey, Frontend)>, CtlError> {
    let (address, port) = (asked.to.ip(), asked.to.port());
    let found = |key| get(maps, &key).map(|found| found.map(|frontend| (key, frontend)));
    let of_pod = |(_, frontend): &(_, Frontend)| frontend.flags & FLAG_HOST_PORT != 0;
    let own = found(FrontendKey::new(address, port, asked.protocol))?;
    if own.is_some_and(|own| !of_pod(&own)) && !address.is_loopback() {
        return Ok(own);
    }
    let bits = if !address.is_loopback() {
        place::node_flags(maps, address)?
    } else if place::node_flags(maps, asked.client)? & ADDRESS_LOCAL != 0 {
        ADDRESS_NODE_PORT | ADDRESS_HOST_PORT
    } else {
        0
    };
    let any = FrontendKey::on_node(address.is_ipv6(), port, asked.protocol);
    let any = found(any)?;
    if bits & ADDRESS_NODE_PORT != 0 && any.is_some_and(|any| !of_pod(&any)) {
        return Ok(any);
    }
    let host_port = own.filter(of_pod).or(any.filter(of_pod));
    Ok(host_port.filter(|_| bits & ADDRESS_HOST_PORT != 0))
}

/// What is served there.
pub fn get(maps: &Maps, key: &FrontendKey) -> Result<Option<Frontend>, CtlError> {
    Ok(match key {
        FrontendKey::V4(key) => maps.frontends4.get(key)?,
        FrontendKey::V6(key) => maps.frontends6.get(key)?,
    })
}

/// `loadBalancerSourceRanges` of a Service, as far as a client is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Ranges {
    /// How many there are.
    pub count: usize,
    /// The narrowest that has the client; none: it is not served.
    pub has: Option<IpNetwork>,
}

/// The ranges that a load balancer's address serves; none if it serves all.
pub fn ranges(
    maps: &Maps,
    names: &Names,
    frontend: &Frontend,
    client: IpAddr,
) -> Result<Option<Ranges>, CtlError> {
    if frontend.flags & FLAG_SOURCES == 0 {
        return Ok(None);
    }
    let mut rows = sources::rows(&ServiceTables::from(maps), &names.services)?;
    rows.retain(|row| row.id == frontend.service);
    let has = rows
        .iter()
        .map(|row| row.range)
        .filter(|range| range.contains(client));
    Ok(Some(Ranges {
        count: rows.len(),
        has: has.max_by_key(IpNetwork::prefix),
    }))
}

/// The backends of a set, with their ids.
pub fn backends(maps: &Maps, set: u32, count: u32) -> Result<Vec<(u32, SocketAddr)>, CtlError> {
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
