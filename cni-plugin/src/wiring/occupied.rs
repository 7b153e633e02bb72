//! Address conflicts: addresses that somebody on this machine uses, whoever wired them: pods of the plugin that was here before us
//! keep theirs until they end.
//!
//! A route to one address alone (ptp, Calico and ourselves make these), an address of the machine, or a neighbour
//! on a link (a bridge's pods) says so.

use std::{collections::HashSet, io, net::IpAddr};

use netlink_packet_route::{
    RouteNetlinkMessage,
    neighbour::{NeighbourMessage, NeighbourState},
    route::{RouteAttribute, RouteFlags, RouteMessage, RouteType},
};

use super::{
    full_prefix, inspect,
    netlink::{self, DUMP, Netlink},
    route,
};

/// What is looked at.
#[derive(Debug)]
pub struct Occupied {
    netlink: Netlink,
    neighbours: HashSet<IpAddr>,
}

impl Occupied {
    /// Reads the neighbours of these families. Routes are looked up one by one: there may be very many.
    pub fn read(families: impl IntoIterator<Item = bool>) -> io::Result<Self> {
        let mut netlink = Netlink::open()?;
        let mut neighbours = HashSet::new();
        for ipv4 in families {
            let mut request = NeighbourMessage::default();
            request.header.family = netlink::family(ipv4);
            let answers = netlink.request(&RouteNetlinkMessage::GetNeighbour(request), DUMP)?;
            neighbours.extend(answers.iter().filter_map(present));
        }
        Ok(Self {
            netlink,
            neighbours,
        })
    }

    /// Addresses that neighbours have.
    pub const fn neighbours(&self) -> &HashSet<IpAddr> {
        &self.neighbours
    }

    /// Whether the route that the kernel takes is to this address alone.
    pub fn is_routed(&mut self, ip: IpAddr) -> io::Result<bool> {
        let mut request = route::request(ip.is_ipv4());
        request.header.destination_prefix_length = full_prefix(ip);
        request.header.flags = RouteFlags::FibMatch;
        let to = RouteAttribute::Destination(ip.into());
        request.attributes.push(to);
        let request = RouteNetlinkMessage::GetRoute(request);
        let answers = match self.netlink.request(&request, 0) {
            Err(e) if is_no_route(&e) => return Ok(false),
            answers => answers?,
        };
        Ok(answers.iter().any(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route) => is_to_one(route),
            _ => false,
        }))
    }
}

fn is_to_one(route: &RouteMessage) -> bool {
    let header = &route.header;
    let full = match header.address_family {
        netlink_packet_route::AddressFamily::Inet => 32,
        _ => 128,
    };
    header.kind == RouteType::Local || header.destination_prefix_length == full
}

/// `unreachable`, `prohibit` and `blackhole` routes answer by these, too.
fn is_no_route(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    matches!(
        code,
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
    )
}

/// The address of a neighbour that has answered, or needs not.
fn present(answer: &RouteNetlinkMessage) -> Option<IpAddr> {
    let RouteNetlinkMessage::NewNeighbour(neighbour) = answer else {
        return None;
    };
    let has_answered = !matches!(
        neighbour.header.state,
        NeighbourState::None
            | NeighbourState::Incomplete
            | NeighbourState::Failed
            | NeighbourState::Noarp
    );
    let known = has_answered.then(|| inspect::neighbour(neighbour))?;
    known.map(|(ip, _)| ip)
}
