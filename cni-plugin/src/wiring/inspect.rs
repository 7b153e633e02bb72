//! What is there now, for CHECK and the collector.

use std::{io, net::IpAddr};

use ipnetwork::IpNetwork;
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkMessage, State},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
};

use super::{
    device::Device,
    netkit,
    netlink::{self, DUMP, Netlink},
    veth,
};

/// A link, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// Set up.
    pub up: bool,
    /// In operation: the kernel has made it ready to send.
    pub running: bool,
    /// MTU.
    pub mtu: u32,
    /// Hardware address; empty if it has none.
    pub mac: Vec<u8>,
    /// What people call it; of a pod's host side namespace and name of the pod.
    pub alias: String,
    /// Which kind of pair it is a side of; none if it is something else.
    pub device: Option<Device>,
    /// It is a side of a pair that drops what is sent.
    pub shut: bool,
}

impl Link {
    fn of(message: &LinkMessage) -> Self {
        let mut link = Self {
            name: String::new(),
            index: message.header.index,
            up: message.header.flags.contains(LinkFlags::Up),
            running: message
                .attributes
                .contains(&LinkAttribute::OperState(State::Up)),
            mtu: 0,
            mac: Vec::new(),
            alias: String::new(),
            device: None,
            shut: false,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Address(mac) => link.mac.clone_from(mac),
                LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
                LinkAttribute::LinkInfo(infos) => {
                    link.device = Device::of(infos);
                    link.shut = netkit::is_shut(infos);
                }
                _ => {}
            }
        }
        link
    }
}

/// A link by name.
pub fn link(at: &mut Netlink, ifname: &str) -> io::Result<Option<Link>> {
    Ok(veth::find(at, ifname)?.map(|l| Link::of(&l)))
}

/// Hardware address of the other end of a pair, wherever that is; none if there is no such pair, or it has none
/// that a single host may have.
pub fn peer_mac(at: &mut Netlink, index: u32) -> io::Result<Option<[u8; 6]>> {
    let Some(here) = by_index(at, index, None)? else {
        return Ok(None);
    };
    let (mut peer, mut netns) = (None, None);
    for attribute in &here.attributes {
        match attribute {
            LinkAttribute::Link(index) => peer = Some(*index),
            LinkAttribute::LinkNetNsId(id) => netns = Some(*id),
            _ => {}
        }
    }
    let Some((peer, netns)) = peer.zip(netns) else {
        return Ok(None);
    };
    let there = by_index(at, peer, Some(netns))?;
    let mac = there.and_then(|link| <[u8; 6]>::try_from(Link::of(&link).mac).ok());
    Ok(mac.filter(|mac| mac[0] & 1 == 0 && *mac != [0; 6]))
}

/// `netns`: the kernel's number of the network namespace, if it is not this one.
fn by_index(at: &mut Netlink, index: u32, netns: Option<i32>) -> io::Result<Option<LinkMessage>> {
    let mut request = LinkMessage::default();
    request.header.index = index;
    let netns = netns.map(LinkAttribute::IfNetnsId);
    request.attributes.extend(netns);
    match at.request(&RouteNetlinkMessage::GetLink(request), 0) {
        // The link is gone, or its namespace; or that is not ours to look into.
        Err(e)
            if matches!(
                e.raw_os_error(),
                Some(libc::ENODEV | libc::EINVAL | libc::EACCES | libc::EPERM)
            ) =>
        {
            Ok(None)
        }
        answers => Ok(answers?.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        })),
    }
}

/// All links.
pub fn links(at: &mut Netlink) -> io::Result<Vec<Link>> {
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    Ok(at
        .request(&request, DUMP)?
        .iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(Link::of(link)),
            _ => None,
        })
        .collect())
}

/// Addresses on a link.
pub fn addresses(at: &mut Netlink, index: u32) -> io::Result<Vec<IpAddr>> {
    let all = all_addresses(at)?.into_iter();
    Ok(all
        .filter(|(on, _)| *on == index)
        .map(|(_, address)| address.ip())
        .collect())
}

/// All addresses with their prefixes, and the links they are on.
pub fn all_addresses(at: &mut Netlink) -> io::Result<Vec<(u32, IpNetwork)>> {
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    Ok(at
        .request(&request, DUMP)?
        .iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(a) => Some((a.header.index, address(a)?)),
            _ => None,
        })
        .collect())
}

/// `Address` is the far end on point-to-point links; `Local`, where it is given, is ours.
fn address(message: &AddressMessage) -> Option<IpNetwork> {
    let mut ip = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(local) => ip = Some(*local),
            AddressAttribute::Address(address) => ip = ip.or(Some(*address)),
            _ => {}
        }
    }
    IpNetwork::new(ip?, message.header.prefix_len).ok()
}

/// Permanent neighbours of a family on a link.
pub fn neighbours(at: &mut Netlink, index: u32, ipv4: bool) -> io::Result<Vec<(IpAddr, Vec<u8>)>> {
    let mut request = NeighbourMessage::default();
    request.header.family = netlink::family(ipv4);
    Ok(at
        .request(&RouteNetlinkMessage::GetNeighbour(request), DUMP)?
        .iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewNeighbour(n)
                if n.header.ifindex == index && n.header.state == NeighbourState::Permanent =>
            {
                neighbour(n)
            }
            _ => None,
        })
        .collect())
}

pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(IpAddr, Vec<u8>)> {
    let (mut to, mut mac) = (None, Vec::new());
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => to = Some(IpAddr::V4(*a)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => {
                to = Some(IpAddr::V6(*a));
            }
            NeighbourAttribute::LinkLayerAddress(octets) => mac.clone_from(octets),
            _ => {}
        }
    }
    to.map(|to| (to, mac))
}
