//! The device: made if it is not there, set right where it differs, kept when the agent ends. It is set up only once it has its
//! programs, for without them it would take packets from anybody.

use std::io;

use anyhow::Context as _;
use cni_plugin::wiring::{
    addresses, mtu,
    netlink::{CHANGE, CREATE, Netlink},
    veth,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use proxy_common::tunnel::{TUNNEL_DEVICE, TUNNEL_MAC};

use crate::{model::Owned, node::host_device::link::apply_settings, subject::Repairs};

/// Makes the device as it should be, for packets to this port and with this MTU; gives its index. A new one is down.
pub fn ensure(port: u16, mtu: u32, repairs: &mut Repairs) -> anyhow::Result<u32> {
    let mut netlink = Netlink::open().context("open netlink")?;
    let (index, made) =
        device(&mut netlink, port, mtu).with_context(|| format!("make {TUNNEL_DEVICE}"))?;
    // Before the settings, which an interface with too small a one does not have.
    let mut changed = mtu::ensure(&mut netlink, TUNNEL_DEVICE, mtu)
        .with_context(|| format!("set the MTU of {TUNNEL_DEVICE} to {mtu}"))?;
    apply_settings(TUNNEL_DEVICE, Owned::TunnelSettings, repairs)?;
    changed |=
        set_right(&mut netlink, port, mtu).with_context(|| format!("set {TUNNEL_DEVICE} right"))?;
    changed |= addresses::ensure_own(&mut netlink, index)
        .with_context(|| format!("add the address of {TUNNEL_DEVICE}"))?;
    let wanted = format!("with port {port} and an MTU of {mtu}");
    repairs.keep(Owned::TunnelDevice, TUNNEL_DEVICE, &wanted, made || changed);
    Ok(index)
}

/// Sets it up, once it has its programs; says whether it was not.
pub fn set_up(port: u16) -> anyhow::Result<bool> {
    let mut netlink = Netlink::open().context("open netlink")?;
    let Some(link) = veth::find(&mut netlink, TUNNEL_DEVICE)? else {
        return Ok(false); // Gone since; the next look makes it anew.
    };
    if link.header.flags.contains(LinkFlags::Up) {
        return Ok(false);
    }
    let request = veth::set_up(link.header.index, None);
    netlink
        .request(&request.message, request.flags)
        .with_context(|| format!("set {TUNNEL_DEVICE} up (UDP port {port}, tunnel.port)"))?;
    tracing::info!(port, "{TUNNEL_DEVICE} set up");
    Ok(true)
}

/// Removes it and its routes. Says whether it was there.
pub fn remove() -> io::Result<bool> {
    let mut netlink = Netlink::open()?;
    veth::remove(&mut netlink, TUNNEL_DEVICE)
}

/// Its index, and whether it was made because there was none, or none like that.
fn device(netlink: &mut Netlink, port: u16, mtu: u32) -> io::Result<(u32, bool)> {
    match veth::find(netlink, TUNNEL_DEVICE)? {
        Some(link) if is_ours(&link, port) => return Ok((link.header.index, false)),
        Some(_) => drop(veth::remove(netlink, TUNNEL_DEVICE)?),
        None => {}
    }
    let link = described(port, mtu);
    netlink.request(&RouteNetlinkMessage::NewLink(link), CREATE)?;
    tracing::info!(port, mtu, "{TUNNEL_DEVICE} made");
    Ok((veth::index(netlink, TUNNEL_DEVICE)?, true))
}

/// Whether it is for every peer, by this port.
fn is_ours(link: &LinkMessage, port: u16) -> bool {
    let (mut collects, mut by_port) = (false, false);
    let infos = link
        .attributes
        .iter()
        .filter_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos.iter()),
            _ => None,
        });
    for info in infos.flatten() {
        let LinkInfo::Data(InfoData::Vxlan(values)) = info else {
            continue;
        };
        collects |= values.contains(&InfoVxlan::CollectMetadata(true));
        by_port |= values.contains(&InfoVxlan::Port(port));
    }
    collects && by_port
}

fn plain(mtu: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(TUNNEL_DEVICE.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Address(TUNNEL_MAC.to_vec()),
    ];
    link
}

fn described(port: u16, mtu: u32) -> LinkMessage {
    let mut link = plain(mtu);
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Vxlan),
        LinkInfo::Data(InfoData::Vxlan(vec![
            InfoVxlan::CollectMetadata(true),
            InfoVxlan::Learning(false),
            InfoVxlan::Port(port),
        ])),
    ]));
    link
}

/// Sets what differs. Without ARP every neighbour has the device's own hardware address. Says whether anything did.
fn set_right(netlink: &mut Netlink, port: u16, mtu: u32) -> io::Result<bool> {
    let present = veth::find(netlink, TUNNEL_DEVICE)?;
    let link = present.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let is_right = |attribute: &LinkAttribute| match attribute {
        LinkAttribute::Mtu(present) => *present == mtu,
        LinkAttribute::Address(present) => *present == TUNNEL_MAC,
        _ => true,
    };
    if link.header.flags.contains(LinkFlags::Noarp) && link.attributes.iter().all(is_right) {
        return Ok(false);
    }
    let mut request = plain(mtu);
    request.header.index = link.header.index;
    request.header.flags = LinkFlags::Noarp;
    request.header.change_mask = LinkFlags::Noarp;
    netlink.request(&RouteNetlinkMessage::SetLink(request), CHANGE)?;
    tracing::info!(port, mtu, "{TUNNEL_DEVICE} set right");
    Ok(true)
}
