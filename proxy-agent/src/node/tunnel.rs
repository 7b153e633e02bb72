//! The tunnel to nodes that are not reached directly: `weir_vxlan`, one device to all of them. The programs say of each packet
//! to which node it goes (`TUNNELS*`), and take only what comes from the node that has the sender's address. Routes lead there what
//! the host sends to pods of such nodes.

pub mod link;
pub mod program;
pub mod relayed;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use ipnetwork::IpNetwork;
use proxy_common::tunnel::{
    LEAST_ROOM6, TUNNEL_CLOSED, TUNNEL_ENCRYPTED, TUNNEL_NODE, TUNNEL_OVER_IPV6, TUNNEL_SEND,
};

use crate::model::Node;

/// A range of addresses behind the tunnel, or one that may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where the node ends the tunnel.
    pub end: IpAddr,
    /// `TUNNEL_*` bits.
    pub flags: u32,
    /// The length of a packet for which the way has room, if it is less than that of its device; else 0.
    pub room: u32,
}

impl Peer {
    /// For what length of a packet to a range there is room, by a device with room for `mtu`. Of IPv6 there is no way with less than
    /// 1280: what is put around its packets is cut.
    pub fn room(self, range: IpNetwork, mtu: u32) -> u32 {
        let room = match self.room {
            0 => mtu,
            room if range.is_ipv6() => room.max(LEAST_ROOM6),
            room => room,
        };
        room.min(mtu)
    }
}

/// The tunnel as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// Whether anything here needs it.
    pub wanted: bool,
    /// Whether what comes by it is taken though nothing here needs it: another node may send by it that has heard earlier, or
    /// not yet, of a change.
    pub takes: bool,
    /// Whether it takes what comes from outside for a Service with a backend on another node.
    pub relays: bool,
    /// Ranges of pods and addresses of nodes.
    pub peers: BTreeMap<IpNetwork, Peer>,
    /// Ranges of pods that are reached by it.
    pub ranges: Vec<IpNetwork>,
    /// The length of a packet for which it has room.
    pub mtu: u32,
    /// Index of the device by which encrypted ranges are reached, and the length of a packet for which that has room.
    pub encryption: [u32; 2],
}

impl Tunnel {
    /// Takes up a node whose tunnel ends there; `by` says for each of its ranges whether it is reached so. What pods send to
    /// the node itself goes the way of its pods.
    pub fn add(&mut self, node: &Node, end: IpAddr, by: &[(IpNetwork, bool)], room: u32) {
        self.add_by(node, end, by, [0, room]);
        let by = by.iter().filter(|(_, by)| *by);
        self.ranges.extend(by.map(|(range, _)| *range));
    }

    /// Takes up a node all of whose ranges are reached by the device that encrypts.
    pub fn add_encrypted(&mut self, node: &Node, end: IpAddr, room: u32) {
        let ranges = node.pod_cidrs.iter();
        let by: Vec<_> = ranges.map(|range| (*range, true)).collect();
        self.add_by(node, end, &by, [TUNNEL_ENCRYPTED, room]);
    }

    /// Takes up ranges to which nothing leads.
    pub fn close(&mut self, ranges: impl IntoIterator<Item = IpNetwork>) {
        let closed = closed(0);
        self.peers
            .extend(ranges.into_iter().map(|range| (range, closed)));
    }

    /// Takes up addresses of nodes to which nothing leads what pods send.
    pub fn close_nodes<'a>(&mut self, ips: impl IntoIterator<Item = &'a IpAddr>) {
        let closed = closed(TUNNEL_NODE);
        self.peers
            .extend(ips.into_iter().map(|ip| ((*ip).into(), closed)));
    }

    fn add_by(
        &mut self,
        node: &Node,
        end: IpAddr,
        by: &[(IpNetwork, bool)],
        [more, room]: [u32; 2],
    ) {
        let family = if end.is_ipv6() { TUNNEL_OVER_IPV6 } else { 0 };
        let over = family | more;
        let send = |by: bool| if by { TUNNEL_SEND } else { 0 };
        for (range, by) in by {
            let flags = over | send(*by);
            self.peers.insert(*range, Peer { end, flags, room });
        }
        for ip in node.internal_ips.iter().filter(|ip| node.holds(**ip)) {
            let of_family =
                |(range, by): &(IpNetwork, bool)| *by && range.is_ipv4() == ip.is_ipv4();
            let flags = over | TUNNEL_NODE | send(by.iter().any(of_family));
            self.peers.insert((*ip).into(), Peer { end, flags, room });
        }
    }

    /// Whether there is to be a device, if the kernel makes one.
    pub const fn has_device(&self) -> bool {
        self.wanted || self.takes
    }

    /// Whether the way to any node has less room than its device.
    pub fn is_narrow(&self) -> bool {
        self.peers.values().any(|peer| peer.room != 0)
    }

    /// Whether anything is reached by it.
    pub fn is_used(&self) -> bool {
        !self.ranges.is_empty()
    }
}

/// What nothing leads to.
fn closed(more: u32) -> Peer {
    Peer {
        end: Ipv4Addr::UNSPECIFIED.into(),
        flags: TUNNEL_SEND | TUNNEL_CLOSED | more,
        room: 0,
    }
}
