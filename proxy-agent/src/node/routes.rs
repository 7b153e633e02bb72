//! Routes of the main table. Ours are known by their protocol number, so that stale ones are found after a restart.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use cni_plugin::wiring::{
    ROUTE_PROTOCOL,
    netlink::{CHANGE, Netlink, REPLACE},
    route::{self, Route, Way},
};
use ipnetwork::IpNetwork;
use netlink_packet_route::RouteNetlinkMessage;

use crate::{model::Owned, subject::Repairs};

/// Protocol number of routes to other nodes' pods (`ip route show proto 87`).
pub const TO_NODES: u8 = 87;
/// Protocol number of routes to `weir_host` (`ip route show proto 89`).
pub const TO_HOST_DEVICE: u8 = 89;

/// Protocol numbers of all routes of ours; 88 is the plugin's, of those to local pods.
pub const OURS: [u8; 3] = [TO_NODES, ROUTE_PROTOCOL, TO_HOST_DEVICE];

/// Routes by destination.
pub type Routes = BTreeMap<IpNetwork, Way>;

/// The main table.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// Our routes.
    pub ours: Routes,
    /// Destinations of all others, default routes left out.
    pub others: BTreeSet<IpNetwork>,
    /// Those of them whose place ours would take.
    pub in_place: Routes,
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

/// What came of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// What could not be done.
    pub errors: Vec<String>,
    /// What was set.
    pub set: Vec<(IpNetwork, Way)>,
}

impl Brought {
    /// The table could not be read.
    pub fn failed(error: &io::Error) -> Self {
        Self {
            errors: vec![format!("read routes: {error}")],
            set: Vec::new(),
        }
    }
}

/// A way to the main table of the namespace in which it was opened.
#[derive(Debug)]
pub struct RouteTable(Netlink);

impl RouteTable {
    /// Opens it, in the calling thread's namespace.
    pub fn open() -> io::Result<Self> {
        Netlink::open().map(Self)
    }

    /// Reads it. Ours are the routes of `protocol`.
    pub fn read(&mut self, protocol: u8) -> io::Result<Present> {
        let mut present = Present::default();
        for ipv4 in [true, false] {
            for (route, metric) in route::routes_and_metrics(&mut self.0, ipv4)? {
                if route.protocol == protocol {
                    present.ours.insert(route.to, route.way);
                } else if route.to.prefix() > 0 {
                    present.others.insert(route.to);
                    if metric == route::usual_metric(ipv4) {
                        present.in_place.insert(route.to, route.way);
                    }
                }
            }
        }
        Ok(present)
    }

    /// Carries a plan out, and goes on after failures.
    pub fn apply(&mut self, protocol: u8, plan: Plan) -> Brought {
        let (mut errors, mut set) = (Vec::new(), Vec::new());
        let route = |(to, way): (IpNetwork, Way)| Route { to, protocol, way };
        for route in plan.set.into_iter().map(route) {
            match self.set(&route) {
                Ok(()) => {
                    tracing::info!(to = %route.to, protocol, "route set");
                    set.push((route.to, route.way));
                }
                Err(e) => errors.push(format!("set route to {}: {e}", in_words(&route))),
            }
        }
        for route in plan.remove.into_iter().map(route) {
            match self.remove(&route) {
                Ok(()) => tracing::info!(to = %route.to, protocol, "route removed"),
                Err(e) => errors.push(format!("remove route to {}: {e}", in_words(&route))),
            }
        }
        Brought { errors, set }
    }

    fn set(&mut self, route: &Route) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewRoute(route.message());
        self.0.request(&message, REPLACE).map(drop)
    }

    /// One that is gone already needs no removal.
    fn remove(&mut self, route: &Route) -> io::Result<()> {
        let message = RouteNetlinkMessage::DelRoute(route.message());
        match self.0.request(&message, CHANGE) {
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => Err(e),
            _ => Ok(()),
        }
    }
}

/// Brings our routes of a protocol in step.
pub fn bring(table: &mut RouteTable, protocol: u8, desired: &Routes, complete: bool) -> Brought {
    match table.read(protocol) {
        Ok(present) => {
            let mut plan = plan(desired, &present.ours, complete);
            // Somebody's who has led there all along: he wants it still when we are gone.
            let in_place = &present.in_place;
            plan.set.retain(|(to, way)| in_place.get(to) != Some(way));
            table.apply(protocol, plan)
        }
        Err(error) => Brought::failed(&error),
    }
}

/// What of that had been set before: somebody took it away.
pub fn put_back(what: Owned, former: &Routes, set: &[(IpNetwork, Way)], repairs: &mut Repairs) {
    for (to, _) in set.iter().filter(|(to, way)| former.get(to) == Some(way)) {
        repairs.repaired(what, &format!("route to {to}"));
    }
}

fn in_words(route: &Route) -> String {
    let (to, index) = (route.to, route.way.index);
    if route.way == Way::NOWHERE {
        return format!("{to} that leads nowhere");
    }
    route.way.gateway.map_or_else(
        || format!("{to} on link {index}"),
        |gateway| format!("{to} via {gateway}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_moves_is_replaced_and_stale_ones_wait_for_the_whole_list() {
        let way = |gateway: &str| Way {
            index: 2,
            gateway: Some(gateway.parse().unwrap()),
            ..Way::default()
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
