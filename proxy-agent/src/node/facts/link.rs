//! Links and their addresses.

use std::{io, net::IpAddr};

use cni_plugin::wiring::{
    netlink::{DUMP, Netlink},
    sizes::Sizes,
};
use ipnetwork::IpNetwork;
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
    link::{
        InfoData, InfoGre, InfoGre6, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo,
        LinkLayerType, LinkMessage,
    },
};

/// A link and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// Hardware address; zeros if it has none of six bytes.
    pub mac: [u8; 6],
    /// MTU.
    pub mtu: u32,
    /// Set up.
    pub up: bool,
    /// What its frames begin with (`ARPHRD_*`).
    pub layer: LinkLayerType,
    /// Its frames begin with the header of its tunnel: GRE to no one end in particular
    /// (<https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/ip_gre.c#L989>).
    pub wraps: bool,
    /// What made it, as `ip link` says it (`vlan`, `bridge`); empty for hardware.
    pub kind: String,
    /// Index of the bridge, bond or the like that it is a member of.
    pub master: Option<u32>,
    /// Addresses, in the kernel's order.
    pub addresses: Vec<Address>,
    /// How large packets of many segments may be.
    pub sizes: Sizes,
}

/// An address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// It and its prefix.
    pub net: IpNetwork,
    /// Packets to anywhere may bear it as their source.
    pub global: bool,
    /// The kernel would choose it before others of its link: neither secondary, temporary nor deprecated.
    pub preferred: bool,
}

impl Default for Interface {
    fn default() -> Self {
        Self {
            name: String::new(),
            index: 0,
            mac: [0; 6],
            mtu: 0,
            up: false,
            layer: LinkLayerType::Ether,
            wraps: false,
            kind: String::new(),
            master: None,
            addresses: Vec::new(),
            sizes: Sizes::default(),
        }
    }
}

impl From<IpNetwork> for Address {
    fn from(net: IpNetwork) -> Self {
        Self {
            net,
            global: !net.ip().is_loopback(),
            preferred: true,
        }
    }
}

impl Interface {
    /// Whether an address is on it.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.net.ip() == ip)
    }

    fn of(message: &LinkMessage) -> Self {
        let mut interface = Self {
            index: message.header.index,
            up: message.header.flags.contains(LinkFlags::Up),
            layer: message.header.link_layer_type,
            sizes: Sizes::of(&message.attributes),
            ..Self::default()
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name.clone_from(name),
                LinkAttribute::Address(mac) => {
                    interface.mac = mac.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
                LinkAttribute::Controller(master) if *master != 0 => {
                    interface.master = Some(*master);
                }
                LinkAttribute::LinkInfo(infos) => {
                    let kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                    interface.kind = kind.unwrap_or_default();
                    interface.wraps = infos.iter().any(wraps);
                }
                _ => {}
            }
        }
        interface
    }
}

/// Whether a link is GRE to no one end in particular, and not to that of each packet's own metadata.
fn wraps(info: &LinkInfo) -> bool {
    let (remote, by_metadata) = match info {
        LinkInfo::Data(InfoData::GreTun(infos)) => (
            infos.iter().find_map(|info| match info {
                InfoGre::Remote(ip) => Some(IpAddr::V4(*ip)),
                _ => None,
            }),
            infos.contains(&InfoGre::CollectMetadata),
        ),
        LinkInfo::Data(InfoData::GreTun6(infos)) => (
            infos.iter().find_map(|info| match info {
                InfoGre6::Remote(ip) => Some(IpAddr::V6(*ip)),
                _ => None,
            }),
            infos.contains(&InfoGre6::CollectMetadata),
        ),
        _ => return false,
    };
    let to_many = remote.is_none_or(|ip| ip.is_unspecified() || ip.is_multicast());
    to_many && !by_metadata
}

/// All links, without their addresses.
pub(super) fn links(netlink: &mut Netlink) -> io::Result<Vec<Interface>> {
    let mut request = LinkMessage::default();
    let mask = vec![LinkExtentMask::SkipStats];
    request.attributes.push(LinkAttribute::ExtMask(mask));
    let answers = netlink.request(&RouteNetlinkMessage::GetLink(request), DUMP)?;
    let links = answers.iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(Interface::of(link)),
        _ => None,
    });
    Ok(links.collect())
}

/// All addresses, and the links that they are on.
pub(super) fn addresses(netlink: &mut Netlink) -> io::Result<Vec<(u32, Address)>> {
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let answers = netlink.request(&request, DUMP)?;
    let addresses = answers.iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewAddress(a) => Some((a.header.index, address(a)?)),
        _ => None,
    });
    Ok(addresses.collect())
}

/// `Address` is the far end on point-to-point links; `Local`, where it is given, is ours.
fn address(message: &AddressMessage) -> Option<Address> {
    let (mut ip, mut flags) = (None, AddressFlags::empty());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(local) => ip = Some(*local),
            AddressAttribute::Address(address) => ip = ip.or(Some(*address)),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    let unusable = AddressFlags::Tentative | AddressFlags::Dadfailed;
    let second = AddressFlags::Secondary | AddressFlags::Deprecated;
    let global = matches!(
        message.header.scope,
        AddressScope::Universe | AddressScope::Site
    );
    Some(Address {
        net: IpNetwork::new(ip?, message.header.prefix_len).ok()?,
        global: global && !flags.intersects(unusable),
        preferred: !flags.intersects(second),
    })
}
