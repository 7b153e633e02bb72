//! What pods reach under their own address, by the live maps.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use proxy_common::{
    address::{octets4, octets6},
    inside::inside_name,
    node::{NODE_MASQUERADE4, NODE_MASQUERADE6},
};
use serde::Serialize;

use super::{output::Row, place};
use crate::{
    api::messages::Names,
    datapath::{Maps, Table as _, TableError},
};

/// An entry of `INSIDE*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct InsideRow {
    /// The range.
    pub range: IpNetwork,
    /// `pods`, `node`, `services`, `configured`, `link-local` or `multicast`.
    pub reason: &'static str,
    /// The node that has it, if it is one's address and names are known.
    pub name: String,
}

impl Row for InsideRow {
    const KIND: &'static str = "InsideList";
    const COLUMNS: &'static [&'static str] = &["RANGE", "REASON", "NAME"];
    const WIDE: &'static [&'static str] = &[];

    fn cells(&self) -> Vec<String> {
        vec![
            self.range.to_string(),
            self.reason.to_owned(),
            self.name.clone(),
        ]
    }

    fn name(&self) -> String {
        self.range.to_string()
    }
}

/// All ranges, in order.
pub fn rows(maps: &Maps, names: &Names) -> Result<Vec<InsideRow>, TableError> {
    let row = |ip: IpAddr, length: u32, reason| {
        // The kernel takes no longer one.
        let length = u8::try_from(length).unwrap_or(u8::MAX);
        let range = IpNetwork::new(ip, length).unwrap_or_else(|_too_long| ip.into());
        let known = names.addresses.get(&ip);
        InsideRow {
            range,
            reason: inside_name(reason),
            name: known.cloned().unwrap_or_default(),
        }
    };
    let v4 = maps.inside4.entries()?.into_iter();
    let v6 = maps.inside6.entries()?.into_iter();
    let v4 = v4.map(|(key, value)| row(octets4(key.data).into(), key.length, value.reason));
    let v6 = v6.map(|(key, value)| row(octets6(key.data).into(), key.length, value.reason));
    let mut rows: Vec<InsideRow> = v4.chain(v6).collect();
    rows.sort();
    Ok(rows)
}

/// Whether a pod of this node is seen as the node by an address.
pub fn is_masqueraded(
    maps: &Maps,
    names: &Names,
    client: IpAddr,
    to: IpAddr,
) -> Result<bool, TableError> {
    let flag = if client.is_ipv4() {
        NODE_MASQUERADE4
    } else {
        NODE_MASQUERADE6
    };
    let config = maps.node_config.get(&0)?.unwrap_or_default();
    let leaves = config.flags & flag != 0
        && place::endpoint(maps, client)?.is_some()
        && place::endpoint(maps, to)?.is_none()
        && place::node_flags(maps, to)? == 0
        && !names.addresses.contains_key(&to);
    if !leaves {
        return Ok(false);
    }
    let rows = rows(maps, names)?;
    Ok(!rows.iter().any(|row| row.range.contains(to)))
}
