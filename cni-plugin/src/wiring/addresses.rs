//! Addresses, routes and neighbours: what asks the kernel for them.

use std::net::IpAddr;

use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
    route::{RouteProtocol, RouteType},
};

use super::{
    ROUTE_PROTOCOL, gateway,
    netlink::{REPLACE, Request, family},
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
        source: None,
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
