//! What is to stand in the node's maps: values of what is desired.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;
use proxy_common::{
    address::{Address4, Address6, address4, address6, mapped},
    conntrack::Timeouts,
    inside::{Inside, InsideKey4, InsideKey6},
    node::{
        LINK_LEFT_ALONE, LINK_SOURCES_BY_ROUTE, LINK_TAKES_FRAMES, LINK_WITHOUT_ETHERNET,
        Link as LinkEntry, NODE_ALLOW_EGRESS_TO_NODE, NODE_ANSWER_PING, NODE_ENCRYPTS,
        NODE_FORWARD_BPF, NODE_MASQUERADE4, NODE_MASQUERADE6, NODE_NARROW, NODE_SOCKET_BALANCING,
        NodeConfig,
    },
    route_sources::{RouteSourceKey, RouteSourceKey4, RouteSourceKey6},
    tunnel::{
        TUNNEL_ENCRYPTED, TUNNEL_ROOM_SHIFT, TUNNEL_SEND, TunnelKey4, TunnelKey6, TunnelPeer,
    },
};

use crate::{
    config::{Configuration, Conntrack, Forwarding, Period, Xdp},
    datapath::{bpfsys, prefix::Prefix},
    node::{
        desired::Desired,
        links::{Header, Links, by_route::ByRoute, xdp::takes_frames},
        masquerade::Masquerade,
        tunnel::Tunnel,
    },
};

/// By index.
pub(super) fn links(links: &Links, xdp: Xdp) -> BTreeMap<u32, LinkEntry> {
    let chosen = links.chosen.values();
    let entries = chosen.map(|link| {
        let mut flags = match link.header {
            Header::Ethernet => 0,
            Header::Bare => LINK_WITHOUT_ETHERNET,
        };
        if takes_frames(xdp, link) {
            flags |= LINK_TAKES_FRAMES;
        }
        if links.by_route.keys().any(|(index, _)| *index == link.index) {
            flags |= LINK_SOURCES_BY_ROUTE;
        }
        let v4 = link.sources.v4.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let v6 = link.sources.v6.unwrap_or(Ipv6Addr::UNSPECIFIED);
        let entry = LinkEntry {
            address4: address4(v4.octets()),
            address6: address6(v6.octets()),
            flags,
            mac: link.mac,
            pad: [0; 2],
        };
        (link.index, entry)
    });
    let left_alone = links.left_alone.iter().map(|index| {
        let flags = LINK_LEFT_ALONE;
        (
            *index,
            LinkEntry {
                flags,
                ..LinkEntry::default()
            },
        )
    });
    entries.chain(left_alone).collect()
}

pub(super) type Inside4 = BTreeMap<Prefix<InsideKey4>, Inside>;
pub(super) type Inside6 = BTreeMap<Prefix<InsideKey6>, Inside>;

/// By family, with the bits in the order of the wire.
pub(super) fn by_family<V>(
    ranges: impl Iterator<Item = (IpNetwork, V)>,
) -> (BTreeMap<Prefix<Address4>, V>, BTreeMap<Prefix<Address6>, V>) {
    let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
    for (range, value) in ranges {
        let length = range.prefix().into();
        match range.network() {
            IpAddr::V4(ip) => {
                let data = address4(ip.octets());
                v4.insert(Prefix { length, data }, value);
            }
            IpAddr::V6(ip) => {
                let data = address6(ip.octets());
                v6.insert(Prefix { length, data }, value);
            }
        }
    }
    (v4, v6)
}

pub(super) fn inside(masquerade: &Masquerade) -> (Inside4, Inside6) {
    let ranges = masquerade.inside.iter();
    by_family(ranges.map(|(range, reason)| (*range, Inside { reason: *reason })))
}

pub(super) type Sources4 = BTreeMap<Prefix<RouteSourceKey4>, Address4>;
pub(super) type Sources6 = BTreeMap<Prefix<RouteSourceKey6>, Address6>;

pub(super) fn sources(by_route: &ByRoute) -> (Sources4, Sources6) {
    // The bits of the link's index.
    const LINK: u32 = 32;
    let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
    for ((link, to), source) in by_route {
        let (link, length) = (*link, LINK + u32::from(to.prefix()));
        match (to.network(), source) {
            (IpAddr::V4(to), IpAddr::V4(source)) => {
                let destination = address4(to.octets());
                let data = RouteSourceKey { link, destination };
                v4.insert(Prefix { length, data }, address4(source.octets()));
            }
            (IpAddr::V6(to), IpAddr::V6(source)) => {
                let destination = address6(to.octets());
                let data = RouteSourceKey { link, destination };
                v6.insert(Prefix { length, data }, address6(source.octets()));
            }
            // A source of the other family the programs could not use.
            _ => {}
        }
    }
    (v4, v6)
}

pub(super) type Tunnels4 = BTreeMap<Prefix<TunnelKey4>, TunnelPeer>;
pub(super) type Tunnels6 = BTreeMap<Prefix<TunnelKey6>, TunnelPeer>;

/// Of those that are reached directly only if not `only_reached`.
pub(super) fn tunnels(tunnel: &Tunnel, only_reached: bool) -> (Tunnels4, Tunnels6) {
    let peers = tunnel.peers.iter();
    let peers = peers.filter(|(_, peer)| !only_reached || peer.flags & TUNNEL_SEND != 0);
    by_family(peers.map(|(range, peer)| {
        let address = match peer.end {
            _ if peer.flags & TUNNEL_ENCRYPTED != 0 => {
                let [device, mtu] = tunnel.encryption;
                [device, peer.room(*range, mtu), 0, 0]
            }
            IpAddr::V4(ip) => mapped(address4(ip.octets())),
            IpAddr::V6(ip) => address6(ip.octets()),
        };
        // A length has 16 bits.
        let flags = peer.flags | peer.room << TUNNEL_ROOM_SHIFT;
        (*range, TunnelPeer { address, flags })
    }))
}

pub(super) fn value(config: &Configuration, desired: &Desired, host_device: u32) -> NodeConfig {
    let v4 = desired.internal.iter().find_map(|ip| match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    });
    let v6 = desired.internal.iter().find_map(|ip| match ip {
        IpAddr::V6(ip) => Some(*ip),
        IpAddr::V4(_) => None,
    });
    NodeConfig {
        flags: flags(config, desired),
        host_device,
        netns_cookie: bpfsys::netns_cookie().unwrap_or(0),
        address4: address4(v4.unwrap_or(Ipv4Addr::UNSPECIFIED).octets()),
        address6: address6(v6.unwrap_or(Ipv6Addr::UNSPECIFIED).octets()),
        source_port_min: config.node.source_ports.min,
        source_port_max: config.node.source_ports.max,
        timeouts: timeouts(&config.conntrack),
        maglev_seed: config.load_balancer.maglev.seed,
        ..NodeConfig::default()
    }
}

/// What is 0 lives as long as by default.
fn timeouts(config: &Conntrack) -> Timeouts {
    let seconds = |period: Period| u32::try_from(period.0.as_secs()).unwrap_or(u32::MAX);
    Timeouts {
        tcp_established: seconds(config.tcp_established_timeout),
        tcp_close_wait: seconds(config.tcp_close_wait_timeout),
        udp: seconds(config.udp_timeout),
        udp_stream: seconds(config.udp_stream_timeout),
    }
}

fn flags(config: &Configuration, desired: &Desired) -> u32 {
    let masquerade = desired.masquerade.as_ref();
    let all = [
        (config.forwarding == Forwarding::Bpf, NODE_FORWARD_BPF),
        (config.socket_balancing, NODE_SOCKET_BALANCING),
        (
            config.policy.allow_egress_to_local_node,
            NODE_ALLOW_EGRESS_TO_NODE,
        ),
        (config.services.answer_ping, NODE_ANSWER_PING),
        (desired.encrypted.is_any(), NODE_ENCRYPTS),
        (desired.tunnel.is_narrow(), NODE_NARROW),
        (masquerade.is_some_and(|m| m.ipv4), NODE_MASQUERADE4),
        (masquerade.is_some_and(|m| m.ipv6), NODE_MASQUERADE6),
    ];
    let set = all.into_iter().filter(|(set, _)| *set);
    set.fold(0, |flags, (_, bit)| flags | bit)
}

#[cfg(test)]
mod tests {
    use proxy_common::conntrack::DEFAULT_TIMEOUTS;

    use super::*;

    #[test]
    fn time_outs_are_what_is_configured() {
        let kept = timeouts(&Conntrack {
            udp_timeout: Period::from_millis(7900),
            udp_stream_timeout: Period::from_secs(u64::MAX / 1000),
            ..Conntrack::default()
        });
        let expected = Timeouts {
            tcp_established: 24 * 3600,
            tcp_close_wait: 3600,
            udp: 7,
            udp_stream: u32::MAX,
        };
        assert_eq!(kept, expected);
        let zero_is_default = Timeouts {
            udp: 0,
            udp_stream: 0,
            ..DEFAULT_TIMEOUTS
        };
        assert_eq!(timeouts(&Conntrack::default()), zero_is_default);
    }
}
