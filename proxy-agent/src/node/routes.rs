//! Direct routes to the other nodes' pods. Ours are known by their protocol number, so that stale ones are
//! found after a restart.

use std::{collections::BTreeMap, io, net::IpAddr};

use cni_plugin::wiring::netlink::{CHANGE, DUMP, Netlink, REPLACE};
use ipnetwork::IpNetwork;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
};

use super::desired::Via;

/// Routing protocol number of our routes (`ip route show proto 87`).
pub const ROUTE_PROTOCOL: u8 = 87;
const MAIN_TABLE: u8 = 254;

/// Routes by destination.
pub type Routes = BTreeMap<IpNetwork, Via>;

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be made, or put in the place of what leads there.
    pub set: Vec<(IpNetwork, Via)>,
    /// To be removed.
    pub remove: Vec<(IpNetwork, Via)>,
}

/// The difference. Nothing is removed before all nodes are known.
pub fn plan(desired: &Routes, actual: &Routes, complete: bool) -> Plan {
    let set = desired
        .iter()
        .filter(|(to, via)| actual.get(to) != Some(via));
    let remove = actual
        .iter()
        .filter(|(to, _)| complete && !desired.contains_key(to));
    Plan {
        set: set.map(|(to, via)| (*to, *via)).collect(),
        remove: remove.map(|(to, via)| (*to, *via)).collect(),
    }
}

/// Carries a plan out, goes on after failures, returns them.
pub fn apply(netlink: &mut Netlink, plan: &Plan) -> Vec<String> {
    let mut errors = Vec::new();
    for (to, via) in &plan.set {
        let request = RouteNetlinkMessage::NewRoute(message(*to, *via));
        if let Err(e) = netlink.request(&request, REPLACE) {
            errors.push(format!("set route to {to} via {}: {e}", via.gateway));
        }
    }
    for (to, via) in &plan.remove {
        let request = RouteNetlinkMessage::DelRoute(message(*to, *via));
        match netlink.request(&request, CHANGE) {
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => {
                errors.push(format!("remove route to {to} via {}: {e}", via.gateway));
            }
            _ => {}
        }
    }
    errors
}

/// The routes that are there and ours.
pub fn read(netlink: &mut Netlink) -> io::Result<Routes> {
    let mut routes = Routes::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        let answers = netlink.request(&RouteNetlinkMessage::GetRoute(request), DUMP)?;
        routes.extend(answers.iter().filter_map(ours));
    }
    Ok(routes)
}

fn message(to: IpNetwork, via: Via) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = match to {
        IpNetwork::V4(_) => AddressFamily::Inet,
        IpNetwork::V6(_) => AddressFamily::Inet6,
    };
    message.header.destination_prefix_length = to.prefix();
    message.header.table = MAIN_TABLE;
    message.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Destination(to.network().into()),
        RouteAttribute::Gateway(via.gateway.into()),
        RouteAttribute::Oif(via.uplink),
    ];
    message
}

fn ours(answer: &RouteNetlinkMessage) -> Option<(IpNetwork, Via)> {
    let RouteNetlinkMessage::NewRoute(message) = answer else {
        return None;
    };
    if message.header.protocol != RouteProtocol::from(ROUTE_PROTOCOL) {
        return None;
    }
    let (mut to, mut gateway, mut uplink) = (None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Oif(index) => uplink = *index,
            _ => {}
        }
    }
    let to = IpNetwork::new(to?, message.header.destination_prefix_length).ok()?;
    let gateway = gateway?;
    Some((to, Via { gateway, uplink }))
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

    #[test]
    fn a_route_that_moves_is_replaced_and_stale_ones_wait_for_the_whole_list() {
        let via = |ip: &str| Via {
            gateway: ip.parse().unwrap(),
            uplink: 2,
        };
        let net = |text: &str| text.parse::<IpNetwork>().unwrap();
        let desired = [(net("10.1.2.0/24"), via("10.0.0.9"))].into();
        let actual = [
            (net("10.1.2.0/24"), via("10.0.0.2")),
            (net("10.1.3.0/24"), via("10.0.0.3")),
        ]
        .into();
        let early = plan(&desired, &actual, false);
        assert_eq!(early.set, [(net("10.1.2.0/24"), via("10.0.0.9"))]);
        assert!(early.remove.is_empty());
        let late = plan(&desired, &actual, true);
        assert_eq!(late.remove, [(net("10.1.3.0/24"), via("10.0.0.3"))]);
    }
}
