//! What the CNI plugin made on the host's side of a pod's interface, put back where it is missing: a restarted network
//! manager, a flush by hand, or the interface set down and up takes it away, and the pod with it.

use std::{collections::BTreeSet, io, net::IpAddr};

use cni_plugin::wiring::{
    GATEWAY4, GATEWAY6, addresses,
    netlink::{DUMP, Netlink, Request, family},
    route::Stand,
    veth,
};
use ipnetwork::IpNetwork;
use netlink_packet_route::{
    RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
};

use super::facts::Facts;
use crate::model::Wire;

/// Link, address and hardware address.
type Neighbour = (u32, IpAddr, Vec<u8>);

/// What the kernel knows.
struct Neighbours {
    permanent: BTreeSet<Neighbour>,
    /// Links where the host answers for the pods' gateway.
    answered: BTreeSet<u32>,
}

/// Puts back what is missing; says what it could not.
pub fn mend(wires: &[Wire], facts: &Facts) -> Vec<String> {
    try_mend(wires, facts).unwrap_or_else(|e| vec![format!("look after pods' interfaces: {e}")])
}

fn try_mend(wires: &[Wire], facts: &Facts) -> io::Result<Vec<String>> {
    if wires.is_empty() {
        return Ok(Vec::new());
    }
    let mut netlink = Netlink::open()?;
    let neighbours = Neighbours::read(&mut netlink)?;
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
    if wire.ips.iter().any(IpAddr::is_ipv4) && !neighbours.answered.contains(&wire.index) {
        requests.push(addresses::proxy(wire.index, GATEWAY4.into()));
    }
    for &ip in &wire.ips {
        if !neighbours
            .permanent
            .contains(&(wire.index, ip, wire.pod_mac.to_vec()))
        {
            requests.push(addresses::neighbour(wire.index, ip, wire.pod_mac));
        }
        // One that leads elsewhere is somebody's: two records may name one address for a while.
        let to = IpNetwork::from(ip);
        let routed = facts.routing.main.iter().any(|route| route.to == to);
        if !routed {
            requests.push(addresses::route_on_link(wire.index, ip, Stand::MAIN));
        }
    }
    for request in &mut requests {
        request.what = format!("{} on {}", request.what, wire.name);
    }
    requests
}

impl Neighbours {
    fn read(netlink: &mut Netlink) -> io::Result<Self> {
        let mut permanent = BTreeSet::new();
        for ipv4 in [true, false] {
            let all = list(netlink, ipv4, NeighbourFlags::empty())?;
            let lasting = all
                .iter()
                .filter(|one| one.header.state == NeighbourState::Permanent);
            permanent.extend(lasting.filter_map(neighbour));
        }
        let proxies = list(netlink, true, NeighbourFlags::Proxy)?;
        let ours = proxies
            .iter()
            .filter(|one| destination(one) == Some(GATEWAY4.into()));
        let answered = ours.map(|one| one.header.ifindex).collect();
        Ok(Self {
            permanent,
            answered,
        })
    }
}

fn list(
    netlink: &mut Netlink,
    ipv4: bool,
    of: NeighbourFlags,
) -> io::Result<Vec<NeighbourMessage>> {
    let mut request = NeighbourMessage::default();
    request.header.family = family(ipv4);
    request.header.flags = of;
    let answers = netlink.request(&RouteNetlinkMessage::GetNeighbour(request), DUMP)?;
    let answers = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewNeighbour(message) => Some(message),
        _ => None,
    });
    Ok(answers.collect())
}

fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let mac = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(octets) => Some(octets.clone()),
            _ => None,
        });
    let to = destination(message)?;
    Some((message.header.ifindex, to, mac.unwrap_or_default()))
}

fn destination(message: &NeighbourMessage) -> Option<IpAddr> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some((*ip).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some((*ip).into()),
            _ => None,
        })
}
