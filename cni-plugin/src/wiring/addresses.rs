//! Addresses, routes and neighbours: what asks the kernel for them.

use std::net::IpAddr;

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
};

use super::{
    ROUTE_PROTOCOL, full_prefix, gateway,
    netlink::{REPLACE, Request},
};

const MAIN_TABLE: u8 = 254;

const fn family(of: IpAddr) -> AddressFamily {
    match of {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// Puts an address on a link, usable at once.
pub fn add(index: u32, ip: IpAddr, prefix: u8) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(ip);
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
    message.header.family = family(ip);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        NeighbourAttribute::Destination(match ip {
            IpAddr::V4(a) => NeighbourAddress::Inet(a),
            IpAddr::V6(a) => NeighbourAddress::Inet6(a),
        }),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    replace(
        format!("add neighbour {ip}"),
        RouteNetlinkMessage::NewNeighbour(message),
    )
}

/// A route to one address, directly on a link.
pub fn route_on_link(index: u32, to: IpAddr) -> Request {
    let mut message = route(to, full_prefix(to), RouteScope::Link);
    message.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    message
        .attributes
        .push(RouteAttribute::Destination(to.into()));
    message.attributes.push(RouteAttribute::Oif(index));
    replace(
        format!("add route to {to}"),
        RouteNetlinkMessage::NewRoute(message),
    )
}

/// The default route of a family, through its gateway.
pub fn default_route(index: u32, of: IpAddr) -> Request {
    let mut message = route(of, 0, RouteScope::Universe);
    message
        .attributes
        .push(RouteAttribute::Gateway(gateway(of).into()));
    message.attributes.push(RouteAttribute::Oif(index));
    replace(
        format!("add default route through {}", gateway(of)),
        RouteNetlinkMessage::NewRoute(message),
    )
}

fn replace(what: String, message: RouteNetlinkMessage) -> Request {
    Request {
        what,
        message,
        flags: REPLACE,
    }
}

fn route(of: IpAddr, prefix: u8, scope: RouteScope) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(of);
    message.header.destination_prefix_length = prefix;
    message.header.table = MAIN_TABLE;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = scope;
    message.header.kind = RouteType::Unicast;
    message
}
