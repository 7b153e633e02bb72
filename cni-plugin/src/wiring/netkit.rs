//! Netkit pairs.
//!
//! The host's side is the primary one: only there can the pair be changed, so not by a pod with `CAP_NET_ADMIN`. A pair is
//! made shut, which no veth can be: the kernel drops what either side sends until the programs are attached and the plugin
//! opens it.
//!
//! In mode L2, so that hardware addresses, ARP and the rules against forged senders are those of a veth. Programs are attached by
//! TCX at the host's side, also as at a veth: what the pod sends comes to that side's ingress (`netkit_xmit` ends in
//! `__netif_rx`), what it is sent passes its egress, and `bpf_redirect_peer` finds the other side (`netkit_peer_dev`). A program
//! of the pair's own (`BPF_NETKIT_PEER`) would run at the pod's transmission instead, where `bpf_redirect_peer` is not allowed
//! (<https://elixir.bootlin.com/linux/v6.12/source/net/core/filter.c#L2521>) and every way into another pod would be another one.

use std::io;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        InfoData, InfoKind, InfoNetkit, LinkAttribute, LinkInfo, LinkMessage, NetkitMode,
        NetkitPolicy,
    },
};

use super::{
    HOST_MAC,
    netlink::{CHANGE, CREATE, Netlink},
    netns::Netns,
    veth::{Pair, described},
};

/// Makes a pair, shut: the host's side where `host` is and the pod's side in `pod`.
pub(super) fn create(host: &mut Netlink, pair: &Pair<'_>, pod: &Netns) -> io::Result<()> {
    let mut peer = described(pair, pair.ifname, pair.mac);
    let netns = LinkAttribute::NetNsFd(pod.number());
    peer.attributes.push(netns);
    let mut link = described(pair, pair.host_ifname, HOST_MAC);
    link.attributes.push(info(vec![
        InfoNetkit::Mode(NetkitMode::L2),
        InfoNetkit::Policy(NetkitPolicy::Drop),
        InfoNetkit::PeerPolicy(NetkitPolicy::Drop),
        InfoNetkit::Peer(peer),
    ]));
    host.request(&RouteNetlinkMessage::NewLink(link), CREATE)
        .map(drop)
}

/// Opens or shuts both directions of the pair with this host's side.
pub fn set_shut(host: &mut Netlink, index: u32, shut: bool) -> io::Result<()> {
    let policy = if shut {
        NetkitPolicy::Drop
    } else {
        NetkitPolicy::Pass
    };
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes.push(info(vec![
        InfoNetkit::Policy(policy),
        InfoNetkit::PeerPolicy(policy),
    ]));
    host.request(&RouteNetlinkMessage::NewLink(link), CHANGE)
        .map(drop)
}

/// Whether a direction of a pair is shut.
pub(super) fn is_shut(infos: &[LinkInfo]) -> bool {
    infos.iter().any(|info| match info {
        LinkInfo::Data(InfoData::Netkit(told)) => told.iter().any(|one| {
            matches!(
                one,
                InfoNetkit::Policy(NetkitPolicy::Drop) | InfoNetkit::PeerPolicy(NetkitPolicy::Drop)
            )
        }),
        _ => false,
    })
}

fn info(data: Vec<InfoNetkit>) -> LinkAttribute {
    LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Netkit),
        LinkInfo::Data(InfoData::Netkit(data)),
    ])
}
