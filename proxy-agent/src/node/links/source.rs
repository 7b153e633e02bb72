//! The source of what is translated on its way out by a link.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;

use crate::node::facts::{Facts, Interface};

/// The source by family; none where the link has none of its own: the node's internal one then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// IPv4.
    pub v4: Option<Ipv4Addr>,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
    /// These are not all: it is the route that says which.
    pub by_route: bool,
}

impl Sources {
    /// The node's internal address if the link has it; else what its default route prefers; else what the kernel would
    /// choose on it.
    pub fn of(interface: &Interface, internal: &[IpAddr], facts: &Facts) -> Self {
        Self {
            v4: source(interface, internal, facts, true).and_then(|ip| match ip {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            }),
            v6: source(interface, internal, facts, false).and_then(|ip| match ip {
                IpAddr::V6(ip) => Some(ip),
                IpAddr::V4(_) => None,
            }),
            by_route: [true, false]
                .into_iter()
                .any(|ipv4| candidates(interface, facts, ipv4).len() > 1),
        }
    }
}

/// The addresses that packets may leave with by the link: one of each of its networks, and those that routes by it name.
fn candidates(interface: &Interface, facts: &Facts, ipv4: bool) -> BTreeSet<IpAddr> {
    let addresses = interface.addresses.iter();
    let own = addresses.filter(|address| address.global && address.preferred);
    // One that moves between machines lies in the network of another one.
    let moves = |net: IpNetwork| {
        let mut others = own.clone().filter(|other| other.net.ip() != net.ip());
        others.any(|other| other.net.contains(net.ip()))
    };
    let own = own.clone().map(|address| address.net);
    let own = own.filter(|net| !moves(*net)).map(|net| net.ip());
    let routes = facts.routing.main.iter();
    let by_it = routes.filter(|route| route.way.index == interface.index);
    let named = by_it.filter_map(|route| route.way.source);
    let defaults = facts.routing.defaults.iter();
    let by_default = defaults.filter(|route| route.index == interface.index);
    let preferred = by_default.filter_map(|route| route.source);
    let all = own.chain(named).chain(preferred);
    all.filter(|ip| ip.is_ipv4() == ipv4).collect()
}

fn source(interface: &Interface, internal: &[IpAddr], facts: &Facts, ipv4: bool) -> Option<IpAddr> {
    let primary = internal.iter().copied().find(|ip| ip.is_ipv4() == ipv4);
    if let Some(primary) = primary.filter(|ip| interface.has(*ip)) {
        return Some(primary);
    }
    let defaults = facts.routing.defaults.iter();
    let mut here = defaults.filter(|route| route.index == interface.index && route.ipv4 == ipv4);
    if let Some(preferred) = here.find_map(|route| route.source) {
        return Some(preferred);
    }
    let addresses = interface.addresses.iter();
    let mut global = addresses.filter(|a| a.net.is_ipv4() == ipv4 && a.global);
    let first = global.clone().next();
    let chosen = global.find(|address| address.preferred).or(first);
    chosen.map(|address| address.net.ip())
}
