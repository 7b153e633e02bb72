//! The MTU of an interface of ours, given back with what the kernel takes away where it is too small.

use std::io;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
};

use super::{
    addresses, inspect,
    netlink::{CHANGE, Netlink},
    veth,
};

/// With less the kernel has no IPv6 on an interface (`IPV6_MIN_MTU`).
const LEAST_OF_IPV6: u32 = 1280;

/// Gives a link this MTU; says whether it had another. One that is not there needs none.
pub fn ensure(at: &mut Netlink, ifname: &str, mtu: u32) -> io::Result<bool> {
    match inspect::link(at, ifname)? {
        Some(link) if link.mtu != mtu => {
            set(at, (link.index, ifname), (link.mtu, mtu))?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Gives a link (index, name) another MTU than it has. Where that brings IPv6 back, the link has it as one that has just been made:
/// with the kernel's defaults, and an address of its own making, which is taken away.
pub fn set(
    at: &mut Netlink,
    (index, ifname): (u32, &str),
    (present, wanted): (u32, u32),
) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes.push(LinkAttribute::Mtu(wanted));
    at.request(&RouteNetlinkMessage::SetLink(link), CHANGE)?;
    if present >= LEAST_OF_IPV6 {
        return Ok(());
    }
    let quiet = veth::without_link_local(index, ifname);
    at.carry_out(quiet.into_iter().collect())?;
    let own = inspect::all_addresses(at)?.into_iter();
    let own = own.filter(|(on, address)| *on == index && address.is_ipv6());
    let remove = own.map(|(_, address)| addresses::remove(index, address));
    at.carry_out(remove.collect())
}
