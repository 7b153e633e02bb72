//! Addresses, routes and neighbours: what asks the kernel for them.

use std::{io, net::IpAddr};

use ipnetwork::IpNetwork;
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
    route::{RouteProtocol, RouteType},
};

use super::{
    LINK4, ROUTE_PROTOCOL, gateway, inspect,
    netlink::{CHANGE, Netlink, REPLACE, Request, family},
    route::{self, Route, Stand, Way},
};

/// Puts an address on a link, usable at once.
pub fn add(index: u32, ip: IpAddr, prefix: u8) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(ip.is_ipv4());
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Address(ip));
    if ip.is_ipv4() {
        message.attributes.push(AddressAttribute::Local(ip));
    } else {
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    replace(
        format!("add address {ip}"),
        RouteNetlinkMessage::NewAddress(message),
    )
}

/// Takes an address off a link.
pub fn remove(index: u32, address: IpNetwork) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address.is_ipv4());
    message.header.prefix_len = address.prefix();
    message.header.index = index;
    let ip = AddressAttribute::Local(address.ip());
    message.attributes.push(ip);
    Request {
        what: format!("remove address {}", address.ip()),
        message: RouteNetlinkMessage::DelAddress(message),
        flags: CHANGE,
    }
}

/// Gives a link [`LINK4`] unless it has that; whether it had not.
///
/// At a loose check of sources (`rp_filter` 2, of all interfaces on many distributions) the kernel takes from a link without any
/// address only what it would send there itself (`no_addr` in
/// <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/fib_frontend.c>).
pub fn ensure_own(at: &mut Netlink, index: u32) -> io::Result<bool> {
    let ip = IpAddr::from(LINK4);
    if inspect::addresses(at, index)?.contains(&ip) {
        return Ok(false);
    }
    let mut message = AddressMessage::default();
    message.header.family = family(true);
    message.header.prefix_len = 32;
    message.header.index = index;
    message.header.scope = AddressScope::Link;
    message.attributes = vec![AddressAttribute::Address(ip), AddressAttribute::Local(ip)];
    at.request(&RouteNetlinkMessage::NewAddress(message), REPLACE)?;
    Ok(true)
}

/// A permanent neighbour.
pub fn neighbour(index: u32, ip: IpAddr, mac: [u8; 6]) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = family(ip.is_ipv4());
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        NeighbourAttribute::Destination(destination(ip)),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    replace(
        format!("add neighbour {ip}"),
        RouteNetlinkMessage::NewNeighbour(message),
    )
}

/// Has the host answer on a link when somebody there asks for an address that is not the host's.
pub fn proxy(index: u32, ip: IpAddr) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = family(ip.is_ipv4());
    message.header.ifindex = index;
    message.header.flags = NeighbourFlags::Proxy;
    message.attributes = vec![NeighbourAttribute::Destination(destination(ip))];
    replace(
        format!("answer for {ip}"),
        RouteNetlinkMessage::NewNeighbour(message),
    )
}

const fn destination(ip: IpAddr) -> NeighbourAddress {
    match ip {
        IpAddr::V4(a) => NeighbourAddress::Inet(a),
        IpAddr::V6(a) => NeighbourAddress::Inet6(a),
    }
}

/// A route to one address, directly on a link.
pub fn route_on_link(index: u32, to: IpAddr, stand: Stand) -> Request {
    let way = Way {
        index,
        ..Way::default()
    };
    let route = Route {
        to: to.into(),
        protocol: ROUTE_PROTOCOL,
        way,
    };
    replace(
        format!("add route to {to}"),
        RouteNetlinkMessage::NewRoute(route.message_at(stand)),
    )
}

/// The default route of a family, through its gateway.
pub fn default_route(index: u32, of: IpAddr, stand: Stand) -> Request {
    let way = Way {
        index,
        gateway: Some(gateway(of)),
        ..Way::default()
    };
    let route = Route {
        to: route::all(of.is_ipv4()),
        protocol: RouteProtocol::Boot.into(),
        way,
    };
    replace(
        format!("add default route through {}", gateway(of)),
        RouteNetlinkMessage::NewRoute(route.message_at(stand)),
    )
}

fn replace(what: String, message: RouteNetlinkMessage) -> Request {
    Request {
        what,
        message,
        flags: REPLACE,
    }
}
