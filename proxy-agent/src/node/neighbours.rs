//! Neighbours that somebody has fixed, and addresses that the host answers for.

use std::{collections::BTreeSet, io, net::IpAddr};

use cni_plugin::wiring::{
    GATEWAY4,
    netlink::{DUMP, Netlink, family},
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
};

/// Link, address and hardware address.
pub type Neighbour = (u32, IpAddr, Vec<u8>);

/// What the kernel knows.
#[derive(Debug)]
pub struct Neighbours {
    /// Those that stay until somebody takes them away (`NUD_PERMANENT`): nobody asks where they are.
    pub permanent: BTreeSet<Neighbour>,
    /// Links where the host answers for the pods' gateway.
    pub answered: BTreeSet<u32>,
}

impl Neighbours {
    /// Reads them.
    pub fn read(netlink: &mut Netlink) -> io::Result<Self> {
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
