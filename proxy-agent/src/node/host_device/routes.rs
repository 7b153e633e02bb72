//! Routes to `weir_host`, known by their protocol number. What others route stays as it is: their more specific
//! routes win, and one to the very same range is not replaced.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
};

use cni_plugin::wiring::netlink::{CHANGE, DUMP, Netlink, REPLACE};
use ipnetwork::IpNetwork;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
};

/// Routing protocol number of our routes (`ip route show proto 89`).
pub const ROUTE_PROTOCOL: u8 = 89;
const MAIN_TABLE: u8 = 254;

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index of `weir_host`.
    pub index: u32,
    /// One neighbour for all addresses; none for itself.
    pub gateway: Option<IpAddr>,
    /// The source address of packets whose socket has none.
    pub source: Option<IpAddr>,
}

/// Routes by destination.
pub type Routes = BTreeMap<IpNetwork, Route>;

/// The main table.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// Our routes.
    pub ours: Routes,
    /// Destinations of all others, default routes left out.
    pub others: BTreeSet<IpNetwork>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be made or changed, those without a gateway first.
    pub set: Vec<(IpNetwork, Route)>,
    /// To be removed.
    pub remove: Vec<(IpNetwork, Route)>,
    /// Where others have routes.
    pub elsewhere: Vec<String>,
}

/// The difference. Nothing is removed before the ranges are `complete`.
pub fn plan(desired: &Routes, present: &Present, complete: bool) -> Plan {
    let mut plan = Plan::default();
    for (to, route) in desired {
        let inside = present.others.iter().filter(|other| {
            to.is_ipv4() == other.is_ipv4()
                && other.prefix() >= to.prefix()
                && to.contains(other.ip())
        });
        plan.elsewhere
            .extend(inside.map(|other| format!("{other} is routed elsewhere")));
        if !present.others.contains(to) && present.ours.get(to) != Some(route) {
            plan.set.push((*to, *route));
        }
    }
    plan.set.sort_by_key(|(_, route)| route.gateway.is_some());
    let stale = present.ours.iter();
    let stale = stale.filter(|(to, _)| complete && !desired.contains_key(to));
    plan.remove = stale.map(|(to, route)| (*to, *route)).collect();
    plan
}

/// Carries a plan out, goes on after failures, returns them.
pub fn apply(netlink: &mut Netlink, plan: &Plan) -> Vec<String> {
    let mut errors = Vec::new();
    for (to, route) in &plan.set {
        let request = RouteNetlinkMessage::NewRoute(message(*to, *route));
        match netlink.request(&request, REPLACE) {
            Ok(_) => tracing::info!(%to, "Services' addresses routed to weir_host"),
            Err(e) => errors.push(format!("set route to {to} by weir_host: {e}")),
        }
    }
    for (to, route) in &plan.remove {
        let request = RouteNetlinkMessage::DelRoute(message(*to, *route));
        match netlink.request(&request, CHANGE) {
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => {
                errors.push(format!("remove route to {to} by weir_host: {e}"));
            }
            _ => tracing::info!(%to, "addresses no longer routed to weir_host"),
        }
    }
    errors
}

/// Reads the main table.
pub fn read(netlink: &mut Netlink) -> io::Result<Present> {
    let mut present = Present::default();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        for answer in netlink.request(&RouteNetlinkMessage::GetRoute(request), DUMP)? {
            if let RouteNetlinkMessage::NewRoute(message) = answer {
                present.take(&message);
            }
        }
    }
    Ok(present)
}

impl Present {
    fn take(&mut self, message: &RouteMessage) {
        let header = &message.header;
        if header.table != MAIN_TABLE {
            return;
        }
        let (mut to, mut route) = (None, Route::nowhere());
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => to = ip(address),
                RouteAttribute::Gateway(address) => route.gateway = ip(address),
                RouteAttribute::PrefSource(address) => route.source = ip(address),
                RouteAttribute::Oif(index) => route.index = *index,
                _ => {}
            }
        }
        let prefix = header.destination_prefix_length;
        let Some(to) = to.and_then(|to| IpNetwork::new(to, prefix).ok()) else {
            return;
        };
        if header.protocol == RouteProtocol::from(ROUTE_PROTOCOL) {
            self.ours.insert(to, route);
        } else {
            self.others.insert(to);
        }
    }
}

impl Route {
    const fn nowhere() -> Self {
        Self {
            index: 0,
            gateway: None,
            source: None,
        }
    }
}

fn message(to: IpNetwork, route: Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = match to {
        IpNetwork::V4(_) => AddressFamily::Inet,
        IpNetwork::V6(_) => AddressFamily::Inet6,
    };
    message.header.destination_prefix_length = to.prefix();
    message.header.table = MAIN_TABLE;
    message.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    message.header.scope = match route.gateway {
        None if to.is_ipv4() => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Destination(to.network().into()),
        RouteAttribute::Oif(route.index),
    ];
    let attributes = &mut message.attributes;
    attributes.extend(route.gateway.map(|ip| RouteAttribute::Gateway(ip.into())));
    attributes.extend(route.source.map(|ip| RouteAttribute::PrefSource(ip.into())));
    message
}

const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(a) => Some(IpAddr::V4(*a)),
        RouteAddress::Inet6(a) => Some(IpAddr::V6(*a)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    fn route(gateway: Option<&str>) -> Route {
        Route {
            index: 7,
            gateway: gateway.map(|ip| ip.parse().unwrap()),
            source: None,
        }
    }

    #[test]
    fn the_gateway_comes_first_and_stale_routes_wait_until_the_ranges_are_known() {
        let (via, direct) = (route(Some("169.254.87.2")), route(None));
        let desired = [(net("10.96.0.0/16"), via), (net("169.254.87.2/32"), direct)].into();
        let present = Present {
            ours: [(net("10.97.0.0/16"), via)].into(),
            others: BTreeSet::new(),
        };
        let early = plan(&desired, &present, false);
        let order: Vec<_> = early.set.iter().map(|(to, _)| *to).collect();
        assert_eq!(order, [net("169.254.87.2/32"), net("10.96.0.0/16")]);
        assert!(early.remove.is_empty() && early.elsewhere.is_empty());
        let late = plan(&desired, &present, true);
        assert_eq!(late.remove, [(net("10.97.0.0/16"), via)]);
    }

    #[test]
    fn routes_of_others_stay_and_are_named() {
        let desired = [(net("10.96.0.0/16"), route(None))].into();
        let mut present = Present {
            ours: Routes::new(),
            others: ["10.96.7.0/24", "10.0.0.0/8", "fd00::/8"].map(net).into(),
        };
        let inside = plan(&desired, &present, true);
        assert_eq!(inside.set.len(), 1, "theirs is more specific than ours");
        assert_eq!(inside.elsewhere, ["10.96.7.0/24 is routed elsewhere"]);
        present.others.insert(net("10.96.0.0/16"));
        let same = plan(&desired, &present, true);
        assert!(same.set.is_empty(), "theirs is not replaced");
        assert_eq!(same.elsewhere.len(), 2);
    }
}
