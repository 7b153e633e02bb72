//! The pair itself: made if it is not there, set right where it differs, kept when the agent ends.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use cni_plugin::wiring::{
    addresses, mtu,
    netlink::{CHANGE, CREATE, Netlink},
    veth,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use proxy_common::host::{
    HOST_DEVICE, HOST_DEVICE_MAC, HOST_DEVICE_PEER, HOST_DEVICE_PEER_MAC, HOST_PEER_IPV4,
    HOST_PEER_IPV6,
};

use crate::{
    model::Owned,
    node::sysctls::{self, Setter},
    subject::Repairs,
};

/// The address that stands for the host, and gateway of the routes.
pub fn peer(ipv4: bool) -> IpAddr {
    if ipv4 {
        Ipv4Addr::from(HOST_PEER_IPV4).into()
    } else {
        Ipv6Addr::from(HOST_PEER_IPV6).into()
    }
}

/// One side of the pair.
struct Side {
    name: &'static str,
    mac: [u8; 6],
    /// What it is besides up. Without ARP every neighbour has the interface's own hardware address, and there is
    /// nobody to be asked.
    flags: LinkFlags,
}

const SIDES: [Side; 2] = [
    Side {
        name: HOST_DEVICE,
        mac: HOST_DEVICE_MAC,
        flags: LinkFlags::Noarp,
    },
    Side {
        name: HOST_DEVICE_PEER,
        mac: HOST_DEVICE_PEER_MAC,
        flags: LinkFlags::Noarp,
    },
];

/// Makes the pair as it should be, with this MTU; gives the index of `weir_host`.
pub fn ensure(mtu: u32, repairs: &mut Repairs) -> anyhow::Result<u32> {
    use anyhow::Context as _;
    let mut netlink = Netlink::open().context("open netlink")?;
    let (index, made) = pair(&mut netlink, mtu).context("make weir_host and weir_net")?;
    let mut changed = made;
    for side in &SIDES {
        // Before the settings, which an interface with too small a one does not have.
        changed |= mtu::ensure(&mut netlink, side.name, mtu)
            .with_context(|| format!("set the MTU of {} to {mtu}", side.name))?;
        apply_settings(side.name, Owned::HostDeviceSettings, repairs)?;
    }
    for side in &SIDES {
        changed |=
            set_right(&mut netlink, side, mtu).with_context(|| format!("set up {}", side.name))?;
    }
    let added =
        addresses::ensure_own(&mut netlink, index).context("add the address of weir_host")?;
    let (pair, wanted) = (
        "weir_host and weir_net",
        format!("up, with an MTU of {mtu}"),
    );
    repairs.keep(Owned::HostDevice, pair, &wanted, changed);
    let what = Owned::HostDeviceAddress;
    repairs.keep(what, "address of weir_host", "there", added);
    Ok(index)
}

/// Removes the pair and its routes. Says whether it was there.
pub fn remove() -> io::Result<bool> {
    veth::remove(&mut Netlink::open()?, HOST_DEVICE)
}

/// The index of `weir_host`, and whether it was made because one of the two was not there or none of ours.
fn pair(netlink: &mut Netlink, mtu: u32) -> io::Result<(u32, bool)> {
    let present = veth::find(netlink, HOST_DEVICE)?;
    let whole = veth::find(netlink, HOST_DEVICE_PEER)?.is_some();
    match present {
        Some(link) if whole && is_veth(&link) => return Ok((link.header.index, false)),
        Some(_) => drop(veth::remove(netlink, HOST_DEVICE)?),
        None => {}
    }
    let [host, peer] = &SIDES;
    let mut link = described(host, mtu);
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(described(peer, mtu)))),
    ]));
    netlink.request(&RouteNetlinkMessage::NewLink(link), CREATE)?;
    tracing::info!("{HOST_DEVICE} and {HOST_DEVICE_PEER} made");
    Ok((veth::index(netlink, HOST_DEVICE)?, true))
}

fn is_veth(link: &LinkMessage) -> bool {
    let infos = link
        .attributes
        .iter()
        .filter_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos),
            _ => None,
        });
    infos
        .flatten()
        .any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth)))
}

fn described(side: &Side, mtu: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(side.name.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Address(side.mac.to_vec()),
    ];
    link
}

/// Sets what differs; says whether anything did.
fn set_right(netlink: &mut Netlink, side: &Side, mtu: u32) -> io::Result<bool> {
    let present = veth::find(netlink, side.name)?;
    let link = present.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let wanted = side.flags | LinkFlags::Up;
    let is_right = |attribute: &LinkAttribute| match attribute {
        LinkAttribute::Mtu(present) => *present == mtu,
        LinkAttribute::Address(present) => *present == side.mac,
        _ => true,
    };
    if link.header.flags.contains(wanted) && link.attributes.iter().all(is_right) {
        return Ok(false);
    }
    let mut request = described(side, mtu);
    request.header.index = link.header.index;
    request.header.flags = wanted;
    request.header.change_mask = wanted;
    netlink.request(&RouteNetlinkMessage::SetLink(request), CHANGE)?;
    tracing::info!(interface = side.name, mtu, "interface set right");
    Ok(true)
}

/// Gives an interface of ours its kernel settings.
pub(in crate::node) fn apply_settings(
    name: &str,
    what: Owned,
    repairs: &mut Repairs,
) -> anyhow::Result<()> {
    let root = sysctls::root();
    let mut to = Setter {
        root: root.as_path(),
        what,
        repairs,
    };
    for (key, value) in settings(name) {
        to.set(&key, value).map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

/// Kernel settings of an interface: it forwards (`bpf_fib_lookup` asks for that), has no address of its own
/// accord, and takes what it is given.
fn settings(name: &str) -> [(String, &'static str); 7] {
    [
        (format!("ipv4/conf/{name}/rp_filter"), "0"),
        (format!("ipv4/conf/{name}/forwarding"), "1"),
        (format!("ipv6/conf/{name}/disable_ipv6"), "0"),
        (format!("ipv6/conf/{name}/accept_ra"), "0"),
        (format!("ipv6/conf/{name}/accept_dad"), "0"),
        // IN6_ADDR_GEN_MODE_NONE
        (format!("ipv6/conf/{name}/addr_gen_mode"), "1"),
        (format!("ipv6/conf/{name}/forwarding"), "1"),
    ]
}
