//! Routes of the main table. Ours are known by their protocol number, so that stale ones are found after a restart.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use cni_plugin::wiring::{
    netlink::Netlink,
    route::{self, Route, Way},
};
use ipnetwork::IpNetwork;

/// Protocol number of routes to other nodes' pods (`ip route show proto 87`).
pub const TO_NODES: u8 = 87;
/// Protocol number of routes to `weir_host` (`ip route show proto 89`).
pub const TO_HOST_DEVICE: u8 = 89;

/// Routes by destination.
pub type Routes = BTreeMap<IpNetwork, Way>;

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
    /// To be made, or put in the place of what leads there; those without a gateway, which lead to others' gateways,
    /// first.
    pub set: Vec<(IpNetwork, Way)>,
    /// To be removed.
    pub remove: Vec<(IpNetwork, Way)>,
}

/// The difference. Nothing is removed before all that is desired is known: `complete`.
pub fn plan(desired: &Routes, actual: &Routes, complete: bool) -> Plan {
    let set = desired
        .iter()
        .filter(|(to, way)| actual.get(to) != Some(way));
    let remove = actual
        .iter()
        .filter(|(to, _)| complete && !desired.contains_key(to));
    let mut plan = Plan {
        set: set.map(|(to, way)| (*to, *way)).collect(),
        remove: remove.map(|(to, way)| (*to, *way)).collect(),
    };
    plan.set.sort_by_key(|(_, way)| way.gateway.is_some());
    plan
}

/// Carries a plan out, goes on after failures, returns them.
pub fn apply(netlink: &mut Netlink, protocol: u8, plan: &Plan) -> Vec<String> {
    let mut errors = Vec::new();
    let route = |&(to, way): &(IpNetwork, Way)| Route { to, protocol, way };
    for route in plan.set.iter().map(route) {
        match route.set(netlink) {
            Ok(()) => tracing::info!(to = %route.to, protocol, "route set"),
            Err(e) => errors.push(format!("set route to {}: {e}", in_words(&route))),
        }
    }
    for route in plan.remove.iter().map(route) {
        match route.remove(netlink) {
            Ok(()) => tracing::info!(to = %route.to, protocol, "route removed"),
            Err(e) => errors.push(format!("remove route to {}: {e}", in_words(&route))),
        }
    }
    errors
}

fn in_words(route: &Route) -> String {
    let (to, index) = (route.to, route.way.index);
    route.way.gateway.map_or_else(
        || format!("{to} on link {index}"),
        |gateway| format!("{to} via {gateway}"),
    )
}

/// Reads the main table. Ours are those of `protocol`.
pub fn read(netlink: &mut Netlink, protocol: u8) -> io::Result<Present> {
    let mut present = Present::default();
    for ipv4 in [true, false] {
        for route in route::routes(netlink, ipv4)? {
            if route.protocol == protocol {
                present.ours.insert(route.to, route.way);
            } else if route.to.prefix() > 0 {
                present.others.insert(route.to);
            }
        }
    }
    Ok(present)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_moves_is_replaced_and_stale_ones_wait_for_the_whole_list() {
        let way = |gateway: &str| Way {
            index: 2,
            gateway: Some(gateway.parse().unwrap()),
            source: None,
        };
        let net = |text: &str| text.parse::<IpNetwork>().unwrap();
        let desired = [(net("10.1.2.0/24"), way("10.0.0.9"))].into();
        let actual = [
            (net("10.1.2.0/24"), way("10.0.0.2")),
            (net("10.1.3.0/24"), way("10.0.0.3")),
        ]
        .into();
        let early = plan(&desired, &actual, false);
        assert_eq!(early.set, [(net("10.1.2.0/24"), way("10.0.0.9"))]);
        assert!(early.remove.is_empty());
        let late = plan(&desired, &actual, true);
        assert_eq!(late.remove, [(net("10.1.3.0/24"), way("10.0.0.3"))]);
    }
}
