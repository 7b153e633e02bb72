//! The source of what is translated on its way out by a link, where that depends on the route: as the kernel chooses it for its own
//! sockets (<https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/fib_semantics.c#L1245>).

use std::{collections::BTreeMap, net::IpAddr};

use cni_plugin::wiring::route::Route;
use ipnetwork::IpNetwork;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};

use super::{Link, Sources};
use crate::node::facts::{Facts, Interface};

/// Sources by link and destination. Of a destination that is not there, the link's own ([`Sources`]).
pub type ByRoute = BTreeMap<(u32, IpNetwork), IpAddr>;

/// A route by one link.
#[derive(Clone, Copy)]
struct Leg {
    to: IpNetwork,
    link: u32,
    gateway: Option<IpAddr>,
    source: Option<IpAddr>,
}

/// Of all routes that lead out by these links, those whose source is another than that of what they are part of.
pub fn by_route(links: &BTreeMap<u32, Link>, internal: &[IpAddr], facts: &Facts) -> ByRoute {
    let main = facts.routing.main.iter().map(leg);
    let others = facts.routing.others.iter().flat_map(legs);
    let mut all: BTreeMap<(u8, u32, IpNetwork), Leg> = BTreeMap::new();
    for leg in main.chain(others) {
        // The first of several to one destination is that which counts.
        let key = (leg.to.prefix(), leg.link, leg.to);
        all.entry(key).or_insert(leg);
    }
    let mut sources = ByRoute::new();
    // What is larger comes first.
    for leg in all.into_values() {
        let Some(link) = links.get(&leg.link) else {
            continue;
        };
        let own = own(link.sources, leg.to.is_ipv4()).or_else(|| {
            let mut internal = internal.iter().copied();
            internal.find(|ip| ip.is_ipv4() == leg.to.is_ipv4())
        });
        let interface = facts.interface(leg.link);
        let source = interface.and_then(|interface| source(&leg, interface, internal));
        let Some(source) = source.or(own) else {
            continue;
        };
        if around(&sources, &leg).or(own) != Some(source) {
            sources.insert((leg.link, leg.to), source);
        }
    }
    sources
}

const fn leg(route: &Route) -> Leg {
    Leg {
        to: route.to,
        link: route.way.index,
        gateway: route.way.gateway,
        source: route.way.source,
    }
}

/// Of a route with several next hops.
fn legs(message: &RouteMessage) -> Vec<Leg> {
    let Some(route) = Route::of(message) else {
        return Vec::new();
    };
    let hops = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::MultiPath(hops) => Some(hops),
            _ => None,
        });
    let hops = hops.into_iter().flatten();
    let legs = hops.map(|hop| Leg {
        link: hop.interface_index,
        gateway: hop.attributes.iter().find_map(gateway),
        ..leg(&route)
    });
    legs.collect()
}

const fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

/// What a route prefers; else an address of its link in the network of its router, or of its destination. Of several it is the node's
/// internal one, or that which the kernel would take first.
fn source(leg: &Leg, interface: &Interface, internal: &[IpAddr]) -> Option<IpAddr> {
    if leg.source.is_some() {
        return leg.source;
    }
    let near = leg.gateway.unwrap_or_else(|| leg.to.network());
    let addresses = interface.addresses.iter();
    let mut there = addresses.filter(|a| a.global && a.net.contains(near));
    let is_internal = there.clone().find(|a| internal.contains(&a.net.ip()));
    let first = there.clone().next();
    let found = is_internal
        .or_else(|| there.find(|a| a.preferred))
        .or(first);
    found.map(|address| address.net.ip())
}

const fn own(sources: Sources, ipv4: bool) -> Option<IpAddr> {
    match (ipv4, sources.v4, sources.v6) {
        (true, Some(ip), _) => Some(IpAddr::V4(ip)),
        (false, _, Some(ip)) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// The source of the least that a route is part of.
fn around(sources: &ByRoute, leg: &Leg) -> Option<IpAddr> {
    let shorter = (0..leg.to.prefix()).rev();
    let mut around = shorter.filter_map(|prefix| {
        let net = IpNetwork::new(leg.to.network(), prefix).ok()?;
        let net = IpNetwork::new(net.network(), prefix).ok()?;
        sources.get(&(leg.link, net)).copied()
    });
    around.next()
}
