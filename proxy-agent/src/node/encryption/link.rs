//! The device: made if it is not there, set right where it differs, kept when the agent ends. It is set up only once it has its
//! programs.

use std::io;

use anyhow::{Context as _, anyhow};
use cni_plugin::wiring::{
    addresses, mtu,
    netlink::{CREATE, Netlink},
    veth,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use proxy_common::tunnel::ENCRYPTION_DEVICE;

use crate::{model::Owned, node::host_device::link::apply_settings, subject::Repairs};

/// What helps where the kernel has none.
const HINT: &str = "hint: load the module `wireguard` (CONFIG_WIREGUARD; in Linux since 5.6), or set encryption.mode to off";

/// Makes the device; gives its index. A new one is down.
pub fn ensure(repairs: &mut Repairs) -> anyhow::Result<u32> {
    let mut netlink = Netlink::open().context("open netlink")?;
    let (index, made) = device(&mut netlink).map_err(|error| match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => {
            anyhow!("make {ENCRYPTION_DEVICE}: this kernel has no WireGuard ({error}); {HINT}")
        }
        _ => anyhow!("make {ENCRYPTION_DEVICE}: {error}"),
    })?;
    let added = addresses::ensure_own(&mut netlink, index)
        .with_context(|| format!("add the address of {ENCRYPTION_DEVICE}"))?;
    repairs.keep(
        Owned::EncryptionDevice,
        ENCRYPTION_DEVICE,
        "there",
        made || added,
    );
    apply_settings(ENCRYPTION_DEVICE, Owned::EncryptionSettings, repairs)?;
    Ok(index)
}

/// Gives it this MTU; says whether it had another. One that is gone is made anew by the next look.
pub fn set_mtu(mtu: u32) -> io::Result<bool> {
    let mut netlink = Netlink::open()?;
    let changed = mtu::ensure(&mut netlink, ENCRYPTION_DEVICE, mtu)?;
    if changed {
        tracing::info!(mtu, "{ENCRYPTION_DEVICE} set right");
    }
    Ok(changed)
}

/// Sets it up, once it has its programs; says whether it was not.
pub fn set_up(port: u16) -> anyhow::Result<bool> {
    let mut netlink = Netlink::open().context("open netlink")?;
    let Some(link) = veth::find(&mut netlink, ENCRYPTION_DEVICE)? else {
        return Ok(false);
    };
    if link.header.flags.contains(LinkFlags::Up) {
        return Ok(false);
    }
    let request = veth::set_up(link.header.index, None);
    netlink
        .request(&request.message, request.flags)
        .with_context(|| {
            format!("set {ENCRYPTION_DEVICE} up (UDP port {port}, encryption.port)")
        })?;
    tracing::info!(port, "{ENCRYPTION_DEVICE} set up");
    Ok(true)
}

/// Removes it and its routes. Says whether it was there.
pub fn remove() -> io::Result<bool> {
    veth::remove(&mut Netlink::open()?, ENCRYPTION_DEVICE)
}

/// Its index, and whether it was made because there was none, or none like that.
fn device(netlink: &mut Netlink) -> io::Result<(u32, bool)> {
    match veth::find(netlink, ENCRYPTION_DEVICE)? {
        Some(link) if is_ours(&link) => return Ok((link.header.index, false)),
        Some(_) => drop(veth::remove(netlink, ENCRYPTION_DEVICE)?),
        None => {}
    }
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(ENCRYPTION_DEVICE.to_owned()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Wireguard)]),
    ];
    netlink.request(&RouteNetlinkMessage::NewLink(link), CREATE)?;
    tracing::info!("{ENCRYPTION_DEVICE} made");
    Ok((veth::index(netlink, ENCRYPTION_DEVICE)?, true))
}

fn is_ours(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::Wireguard)),
        _ => false,
    })
}
