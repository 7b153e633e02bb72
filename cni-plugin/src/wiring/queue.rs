//! Traffic shaping: limits of a pod's bandwidth: towards it a discipline at the host's side of its interface; from it one in front of a
//! pair of interfaces of the host, through which all that it sends is led before its programs see it.
//!
//! Not in the pod: what is there a pod with `CAP_NET_ADMIN` takes off, and whoever puts it back must be able to enter all
//! namespaces of the node (`CAP_SYS_ADMIN`). The way by the pair costs limited pods alone, and no more than their limit lets
//! pass.
//!
//! The indexes of the pair follow from that of the host's side, so that its program needs to look nothing up.

use std::io;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage},
};

use super::{
    HOST_MAC, addresses, name,
    netlink::{CREATE, Netlink},
    qdisc::{self, Discipline, Root},
    sysctl, veth,
};
use crate::rpc::Key;

/// In the index of the interface by which packets enter a queue (`QUEUE_ENTRY` of the programs).
const ENTRY: u32 = 1 << 30;
/// In the index of the one at whose end they come out of it (`ENDPOINT_QUEUED`).
const END: u32 = 1 << 29;

/// The host's side of a pod's interface.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Whose.
    pub key: &'a Key,
    /// Its index.
    pub index: u32,
    /// Its MTU.
    pub mtu: u32,
}

/// Index of the interface at the end of the queue of a host's side.
pub const fn end(index: u32) -> u32 {
    index | END
}

/// Index of the interface at the entry of the queue of a host's side.
pub const fn entry(index: u32) -> u32 {
    index | ENTRY
}

/// Puts a discipline at the root of an interface. True: something had to be done.
pub fn limit(
    netlink: &mut Netlink,
    index: u32,
    discipline: Discipline,
    present: Option<Root>,
) -> io::Result<bool> {
    let differs = present != Some(Root::Ours(Some(discipline)));
    if differs {
        qdisc::put(netlink, index, discipline)?;
    }
    Ok(differs)
}

/// Takes ours away from the root of an interface. True: something had to be done.
pub fn lift(netlink: &mut Netlink, index: u32, present: Option<Root>) -> io::Result<bool> {
    let is_ours = matches!(present, Some(Root::Ours(_)));
    if is_ours {
        qdisc::remove(netlink, index)?;
    }
    Ok(is_ours)
}

/// Removes the pair of a key. Says whether it was there.
pub fn remove(netlink: &mut Netlink, key: &Key) -> io::Result<bool> {
    let [entry, _] = name::queue_ifnames(key);
    veth::remove(netlink, &entry)
}

/// Makes the pair, or sets right what is not as it should be. True: something had to be done.
pub fn ensure(netlink: &mut Netlink, side: Side<'_>) -> io::Result<bool> {
    if side.index >= END {
        let why = format!("the number {} of its interface is too large", side.index);
        return Err(io::Error::other(why));
    }
    let names = name::queue_ifnames(side.key);
    let indexes = [entry(side.index), end(side.index)];
    let mut changed = false;
    let mut down = Vec::new();
    for (name, index) in names.iter().zip(indexes) {
        let link = super::inspect::link(netlink, name)?;
        match link.filter(|link| link.index == index && link.mtu == side.mtu) {
            Some(link) if link.up => {}
            Some(_) => down.push(index),
            None => {
                make(netlink, side, &names)?;
                down = indexes.to_vec();
                changed = true;
                break;
            }
        }
    }
    changed |= addresses::ensure_own(netlink, end(side.index))?;
    if down.is_empty() {
        return Ok(changed);
    }
    sysctl::prepare_queue(&names)?;
    let quiet = veth::without_link_local(indexes[1], &names[1]);
    let up = down.into_iter().map(|index| veth::set_up(index, None));
    netlink.carry_out(quiet.into_iter().chain(up).collect())?;
    Ok(true)
}

fn make(netlink: &mut Netlink, side: Side<'_>, names: &[String; 2]) -> io::Result<()> {
    let [entry_name, end_name] = names;
    for name in names {
        veth::remove(netlink, name)?;
    }
    let peer = described(end_name, end(side.index), side.mtu);
    let mut link = described(entry_name, entry(side.index), side.mtu);
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    netlink
        .request(&RouteNetlinkMessage::NewLink(link), CREATE)
        .map(drop)
}

/// The end has the address of the host's side, to which the pod sends.
fn described(name: &str, index: u32, mtu: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Address(HOST_MAC.to_vec()),
    ];
    link
}
