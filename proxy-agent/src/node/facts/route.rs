//! Routes of the main table, and which addresses are local by a route.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
};

use cni_plugin::wiring::{
    netlink::{DUMP, Netlink, family},
    route::{self, Route},
    rule::{self, Rule},
};
use ipnetwork::IpNetwork;
use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType},
};

/// `RT_TABLE_LOCAL`.
const LOCAL_TABLE: u8 = 255;
/// `RT_TABLE_MAIN`.
pub(in crate::node) const MAIN_TABLE: u8 = 254;

/// What the routing tables say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routing {
    /// Ways out by a default route, one for each link that is among its next hops.
    pub defaults: Vec<DefaultRoute>,
    /// Destinations of `local` routes of the table `local`.
    pub local: BTreeSet<IpNetwork>,
    /// Routes of the main table.
    pub main: Vec<Route>,
    /// As `main`, those with several next hops or of a kind that is not ours to read: whether they changed is all that matters.
    pub others: Vec<RouteMessage>,
    /// MTUs of routes of the main table by destination, 0 for that of the link; none if no route has one.
    pub mtus: BTreeMap<IpNetwork, u32>,
    /// Which tables are asked, in which order.
    pub rules: Vec<Rule>,
    /// Destinations of routes of other tables that rules name.
    pub beside: BTreeMap<u32, BTreeSet<IpNetwork>>,
}

/// A link by which a default route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// IPv4, else IPv6.
    pub ipv4: bool,
    /// Index of the link.
    pub index: u32,
    /// The source that the route prefers.
    pub source: Option<IpAddr>,
}

/// Reads them.
pub(super) fn read(netlink: &mut Netlink) -> io::Result<Routing> {
    let mut routing = Routing::default();
    for ipv4 in [true, false] {
        routing.rules.extend(rule::all(netlink, ipv4)?);
    }
    let tables = routing.rules.iter().filter_map(|rule| rule.table);
    routing.beside = tables.map(|table| (table, BTreeSet::new())).collect();
    for known in [MAIN_TABLE, LOCAL_TABLE] {
        routing.beside.remove(&known.into());
    }
    for ipv4 in [true, false] {
        let request = RouteNetlinkMessage::GetRoute(route::request(ipv4));
        for answer in netlink.request(&request, DUMP)? {
            if let RouteNetlinkMessage::NewRoute(message) = answer {
                routing.take(message);
            }
        }
    }
    if routing.mtus.values().all(|mtu| *mtu == 0) {
        routing.mtus.clear();
    }
    Ok(routing)
}

impl Routing {
    fn take(&mut self, message: RouteMessage) {
        if message.header.table == LOCAL_TABLE {
            if message.header.kind == RouteType::Local {
                self.local.extend(destination(&message));
            }
            return;
        }
        if table(&message) == u32::from(MAIN_TABLE) {
            let ipv4 = message.header.address_family == family(true);
            let to = destination(&message).unwrap_or_else(|| route::all(ipv4));
            // Of several the kernel names first the one that it takes.
            self.mtus.entry(to).or_insert_with(|| mtu(&message));
        }
        let Some(route) = Route::of(&message) else {
            if let Some(known) = self.beside.get_mut(&table(&message)) {
                let ipv4 = message.header.address_family == family(true);
                known.insert(destination(&message).unwrap_or_else(|| route::all(ipv4)));
            }
            return;
        };
        if route.to.prefix() == 0 {
            self.defaults.extend(defaults(&message, &route));
        }
        if route.way.index == 0 {
            self.others.push(message);
        } else {
            self.main.push(route);
        }
    }
}

/// The number of its table, which need not fit into the header.
fn table(message: &RouteMessage) -> u32 {
    let told = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    told.unwrap_or_else(|| message.header.table.into())
}

/// The MTU that the route has of its own; 0 for none.
fn mtu(message: &RouteMessage) -> u32 {
    let metrics = message
        .attributes
        .iter()
        .filter_map(|attribute| match attribute {
            RouteAttribute::Metrics(metrics) => Some(metrics),
            _ => None,
        });
    let told = metrics.flatten().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    told.unwrap_or(0)
}

fn destination(message: &RouteMessage) -> Option<IpNetwork> {
    message.attributes.iter().find_map(|attribute| {
        let ip = match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => IpAddr::V4(*ip),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => IpAddr::V6(*ip),
            _ => return None,
        };
        IpNetwork::new(ip, message.header.destination_prefix_length).ok()
    })
}

/// One for each next hop.
fn defaults(message: &RouteMessage, route: &Route) -> Vec<DefaultRoute> {
    let hops = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::MultiPath(hops) => Some(hops.iter().map(|hop| hop.interface_index)),
            _ => None,
        });
    let links: Vec<u32> = match hops {
        Some(hops) => hops.collect(),
        None => vec![route.way.index],
    };
    let way = |index| DefaultRoute {
        ipv4: route.to.is_ipv4(),
        index,
        source: route.way.source,
    };
    links
        .into_iter()
        .filter(|index| *index != 0)
        .map(way)
        .collect()
}
