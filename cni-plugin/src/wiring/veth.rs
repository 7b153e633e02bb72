//! Links, and veth pairs.

use std::io;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
        LinkFlags, LinkInfo, LinkMessage,
    },
};

use super::{
    HOST_MAC,
    netlink::{CHANGE, CREATE, Netlink, Request},
    netns::Netns,
    sizes::Sizes,
    sysctl,
};

/// A pair to be made.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Name of the pod's side.
    pub ifname: &'a str,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Name of the host's side.
    pub host_ifname: &'a str,
    /// MTU of both.
    pub mtu: u32,
    /// How large packets of many segments may be on both.
    pub sizes: Sizes,
}

/// Makes a pair, the pod's side where `pod` is and the host's side in `host`. Both hardware addresses are
/// given at birth: udev leaves those alone.
pub(super) fn create(pod: &mut Netlink, pair: &Pair<'_>, host: &Netns) -> io::Result<()> {
    let mut peer = described(pair, pair.host_ifname, HOST_MAC);
    let netns = LinkAttribute::NetNsFd(host.number());
    peer.attributes.push(netns);
    let mut link = described(pair, pair.ifname, pair.mac);
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    pod.request(&RouteNetlinkMessage::NewLink(link), CREATE)?;
    Ok(())
}

/// One side of a pair.
pub(super) fn described(pair: &Pair<'_>, ifname: &str, mac: [u8; 6]) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(ifname.to_owned()),
        LinkAttribute::Mtu(pair.mtu),
        LinkAttribute::Address(mac.to_vec()),
    ];
    link.attributes.extend(pair.sizes.attributes());
    link
}

/// Index of `lo` in every network namespace (`LOOPBACK_IFINDEX` of the kernel).
pub const LO: u32 = 1;

/// Sets a link up, with an alias for people if one is given.
pub fn set_up(index: u32, alias: Option<String>) -> Request {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes.extend(alias.map(LinkAttribute::IfAlias));
    Request {
        what: format!("set interface {index} up"),
        message: RouteNetlinkMessage::SetLink(link),
        flags: CHANGE,
    }
}

/// Gives a link its hardware address back.
pub fn set_address(index: u32, mac: [u8; 6]) -> Request {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes.push(LinkAttribute::Address(mac.to_vec()));
    Request {
        what: "add hardware address".to_owned(),
        message: RouteNetlinkMessage::SetLink(link),
        flags: CHANGE,
    }
}

/// Keeps a link from having an address of IPv6 of its own making; to be asked before it is set up. None where there is no IPv6.
///
/// Not by its `sysctl`: see [`sysctl::set`].
pub fn without_link_local(index: u32, ifname: &str) -> Option<Request> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    let of_ipv6 = AfSpecUnspec::Inet6(vec![mode]);
    link.attributes
        .push(LinkAttribute::AfSpecUnspec(vec![of_ipv6]));
    sysctl::has_ipv6(ifname).then(|| Request {
        what: format!("keep interface {ifname} from making addresses"),
        message: RouteNetlinkMessage::SetLink(link),
        flags: CHANGE,
    })
}

/// Finds a link by name.
pub fn find(at: &mut Netlink, ifname: &str) -> io::Result<Option<LinkMessage>> {
    let mut link = LinkMessage::default();
    link.attributes
        .push(LinkAttribute::IfName(ifname.to_owned()));
    match at.request(&RouteNetlinkMessage::GetLink(link), 0) {
        Ok(answers) => Ok(answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        })),
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Index of a link that must be there.
pub fn index(at: &mut Netlink, ifname: &str) -> io::Result<u32> {
    find(at, ifname)?
        .map(|l| l.header.index)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no interface {ifname}")))
}

/// Removes a link by name. Says whether there was one.
pub fn remove(at: &mut Netlink, ifname: &str) -> io::Result<bool> {
    let mut link = LinkMessage::default();
    link.attributes
        .push(LinkAttribute::IfName(ifname.to_owned()));
    delete(at, link)
}

/// Removes this very link, not another that has its name by now. Says whether it was there.
pub fn remove_index(at: &mut Netlink, index: u32) -> io::Result<bool> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    delete(at, link)
}

fn delete(at: &mut Netlink, link: LinkMessage) -> io::Result<bool> {
    match at.request(&RouteNetlinkMessage::DelLink(link), CHANGE) {
        Ok(_) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(false),
        Err(e) => Err(e),
    }
}
