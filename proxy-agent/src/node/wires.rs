//! What the CNI plugin made on the host's side of a pod's interface, put back where it is missing: a restarted network
//! manager, a flush by hand, or the interface set down and up takes it away, and the pod with it.

use std::{collections::BTreeSet, io, net::IpAddr};

use cni_plugin::wiring::{
    GATEWAY6, addresses,
    netlink::{DUMP, Netlink, Request, family},
    veth,
};
use ipnetwork::IpNetwork;
use netlink_packet_route::{
    RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
};

use super::facts::Facts;

/// The host's side of a pod's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Hardware address of the pod's side.
    pub pod_mac: [u8; 6],
    /// The pod's addresses.
    pub ips: Vec<IpAddr>,
}

/// Permanent neighbours: link, address and hardware address.
type Neighbours = BTreeSet<(u32, IpAddr, Vec<u8>)>;

/// Puts back what is missing; says what it could not.
pub fn mend(wires: &[Wire], facts: &Facts) -> Vec<String> {
    try_mend(wires, facts).unwrap_or_else(|e| vec![format!("look after pods' interfaces: {e}")])
}

fn try_mend(wires: &[Wire], facts: &Facts) -> io::Result<Vec<String>> {
    if wires.is_empty() {
        return Ok(Vec::new());
    }
    let mut netlink = Netlink::open()?;
    let neighbours = neighbours(&mut netlink)?;
    let requests: Vec<Request> = wires
        .iter()
        .flat_map(|wire| missing(wire, facts, &neighbours))
        .collect();
    let mut errors = Vec::new();
    for request in requests {
        let what = request.what.clone();
        // One at a time: what fails says so by its name, and the rest is done.
        match netlink.request(&request.message, request.flags) {
            Ok(_) => tracing::info!(what, "put back"),
            // The pod has gone since we looked.
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {}
            Err(e) => errors.push(format!("{what}: {e}")),
        }
    }
    Ok(errors)
}

/// In the order in which they can be made.
fn missing(wire: &Wire, facts: &Facts, neighbours: &Neighbours) -> Vec<Request> {
    let there = facts.interface(wire.index);
    let Some(link) = there.filter(|link| link.name == wire.name) else {
        return Vec::new(); // The collector of leaks sees to it.
    };
    let mut requests = Vec::new();
    if !link.up {
        requests.push(veth::set_up(wire.index, None));
    }
    let gateway = IpAddr::from(GATEWAY6);
    if wire.ips.iter().any(IpAddr::is_ipv6) && !link.has(gateway) {
        requests.push(addresses::add(wire.index, gateway, 64));
    }
    for &ip in &wire.ips {
        if !neighbours.contains(&(wire.index, ip, wire.pod_mac.to_vec())) {
            requests.push(addresses::neighbour(wire.index, ip, wire.pod_mac));
        }
        // One that leads elsewhere is somebody's: two records may name one address for a while.
        let to = IpNetwork::from(ip);
        let routed = facts.routing.main.iter().any(|route| route.to == to);
        if !routed {
            requests.push(addresses::route_on_link(wire.index, ip));
        }
    }
    for request in &mut requests {
        request.what = format!("{} on {}", request.what, wire.name);
    }
    requests
}

fn neighbours(netlink: &mut Netlink) -> io::Result<Neighbours> {
    let mut all = Neighbours::new();
    for ipv4 in [true, false] {
        let mut request = NeighbourMessage::default();
        request.header.family = family(ipv4);
        let answers = netlink.request(&RouteNetlinkMessage::GetNeighbour(request), DUMP)?;
        all.extend(answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewNeighbour(message) => permanent(message),
            _ => None,
        }));
    }
    Ok(all)
}

fn permanent(message: &NeighbourMessage) -> Option<(u32, IpAddr, Vec<u8>)> {
    if message.header.state != NeighbourState::Permanent {
        return None;
    }
    let (mut to, mut mac) = (None, Vec::new());
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => to = Some((*ip).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => to = Some((*ip).into()),
            NeighbourAttribute::LinkLayerAddress(octets) => mac.clone_from(octets),
            _ => {}
        }
    }
    Some((message.header.ifindex, to?, mac))
}
