//! Which nodes have tunnels, and what goes by them, by the live maps.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use proxy_common::{
    address::{octets4, octets6},
    tunnel::{
        ENCRYPTION_DEVICE, TUNNEL_CLOSED, TUNNEL_ENCRYPTED, TUNNEL_NODE, TUNNEL_OVER_IPV6,
        TUNNEL_SEND, TunnelPeer,
    },
};
use serde::Serialize;

use super::output::Row;
use crate::{
    api::messages::Names,
    datapath::{Maps, Table as _, TableError},
};

/// An entry of `TUNNELS*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TunnelRow {
    /// Pods of a node, or an address of its own.
    pub range: IpNetwork,
    /// `pods` or `node`.
    pub of: &'static str,
    /// Where the node ends the tunnel, or the device that encrypts; `-` for neither.
    pub end: String,
    /// How packets go there: `tunnel`, `encrypted`, `closed` (not at all), or `no` (they are only taken from the tunnel).
    pub used: &'static str,
    /// The node, if names are known.
    pub name: String,
}

impl Row for TunnelRow {
    const KIND: &'static str = "TunnelList";
    const COLUMNS: &'static [&'static str] = &["RANGE", "OF", "END", "USED", "NAME"];
    const WIDE: &'static [&'static str] = &[];

    fn cells(&self) -> Vec<String> {
        vec![
            self.range.to_string(),
            self.of.to_owned(),
            self.end.clone(),
            self.used.to_owned(),
            self.name.clone(),
        ]
    }

    fn name(&self) -> String {
        self.range.to_string()
    }
}

/// All of them, in order.
pub fn rows(maps: &Maps, names: &Names) -> Result<Vec<TunnelRow>, TableError> {
    let row = |ip: IpAddr, length: u32, peer: TunnelPeer| {
        // The kernel takes no longer one.
        let length = u8::try_from(length).unwrap_or(u8::MAX);
        let ends = peer.flags & (TUNNEL_ENCRYPTED | TUNNEL_CLOSED) == 0;
        let node = if ends { end(&peer) } else { ip };
        TunnelRow {
            range: IpNetwork::new(ip, length).unwrap_or_else(|_too_long| ip.into()),
            of: if peer.flags & TUNNEL_NODE == 0 {
                "pods"
            } else {
                "node"
            },
            end: match peer.flags {
                flags if flags & TUNNEL_CLOSED != 0 => "-".to_owned(),
                flags if flags & TUNNEL_ENCRYPTED != 0 => ENCRYPTION_DEVICE.to_owned(),
                _ => node.to_string(),
            },
            used: used(peer.flags),
            name: names.addresses.get(&node).cloned().unwrap_or_default(),
        }
    };
    let v4 = maps.tunnels4.entries()?.into_iter();
    let v6 = maps.tunnels6.entries()?.into_iter();
    let v4 = v4.map(|(key, peer)| row(octets4(key.data).into(), key.length, peer));
    let v6 = v6.map(|(key, peer)| row(octets6(key.data).into(), key.length, peer));
    let mut rows: Vec<TunnelRow> = v4.chain(v6).collect();
    rows.sort();
    Ok(rows)
}

/// The `TUNNEL_*` bits of the range that has an address, the longest one.
pub fn peer(maps: &Maps, address: IpAddr) -> Result<Option<u32>, TableError> {
    let mut found: Option<(u32, u32)> = None;
    let mut look = |ip: IpAddr, length: u32, flags: u32| {
        let range = u8::try_from(length).ok();
        let range = range.and_then(|length| IpNetwork::new(ip, length).ok());
        let has = range.is_some_and(|range| range.contains(address));
        if has && found.is_none_or(|(longest, _)| longest <= length) {
            found = Some((length, flags));
        }
    };
    for (key, peer) in maps.tunnels4.entries()? {
        look(octets4(key.data).into(), key.length, peer.flags);
    }
    for (key, peer) in maps.tunnels6.entries()? {
        look(octets6(key.data).into(), key.length, peer.flags);
    }
    Ok(found.map(|(_, flags)| flags))
}

const fn used(flags: u32) -> &'static str {
    if flags & TUNNEL_CLOSED != 0 {
        "closed"
    } else if flags & TUNNEL_ENCRYPTED != 0 {
        "encrypted"
    } else if flags & TUNNEL_SEND != 0 {
        "tunnel"
    } else {
        "no"
    }
}

fn end(peer: &TunnelPeer) -> IpAddr {
    if peer.flags & TUNNEL_OVER_IPV6 != 0 {
        octets6(peer.address).into()
    } else {
        octets4(peer.address[3]).into()
    }
}
