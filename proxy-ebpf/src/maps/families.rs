//! IPv4 and IPv6 as [`Family`].

use proxy_common::{
    address::{Address4, Address6, ICMP, ICMPV6, address4, mapped, octets4},
    backends::Backend,
    conntrack::{FlowKey, FlowPlace},
    fragments::{FragmentKey, FragmentPorts},
    frontends::{Frontend, FrontendKey},
    host::{HOST_PEER4, HOST_PEER6},
    inside::Inside,
    policy::peers::{CidrKey, Peer, PeerKey},
    route_sources::RouteSourceKey,
    sources::SourceKey,
    tunnel::TunnelPeer,
};

use super::{
    BACKENDS4, BACKENDS6, CIDRS4, CIDRS6, FLOW_INDEX4, FLOW_INDEX6, FLOWS4, FLOWS6, FRAGMENTS4,
    FRAGMENTS6, FRONTENDS4, FRONTENDS6, Family, Flows, Hash, INSIDE4, INSIDE6, LOCAL_PODS4,
    LOCAL_PODS6, Lru, NODE_ADDRESSES4, NODE_ADDRESSES6, NODE_RANGES4, NODE_RANGES6, PEERS4, PEERS6,
    ROUTE_MTUS4, ROUTE_MTUS6, ROUTE_SOURCES4, ROUTE_SOURCES6, SOURCES4, SOURCES6, TUNNELS4,
    TUNNELS6, Trie, VIPS4, VIPS6, family::sealed::Sealed,
};

/// IPv4.
#[derive(Clone, Copy, Debug)]
pub struct V4;

/// IPv6.
#[derive(Clone, Copy, Debug)]
pub struct V6;

impl Sealed for V4 {}
impl Sealed for V6 {}

/// Gives a family its maps.
macro_rules! maps {
    ($($name:ident: $type:ty = $map:ident;)+) => {$(
        #[inline(always)]
        fn $name() -> &'static $type {
            &$map
        }
    )+};
}

impl Family for V4 {
    type Address = Address4;

    const IPV6: bool = false;
    const UNSPECIFIED: Address4 = 0;
    const LOOPBACK: Address4 = address4([127, 0, 0, 1]);
    const HOST_PEER: Address4 = HOST_PEER4;
    const ICMP: u8 = ICMP;
    const ECHO_REQUEST: u8 = 8;
    const ECHO_REPLY: u8 = 0;
    const HEADER: u32 = 20;

    #[inline(always)]
    fn is_loopback(address: Address4) -> bool {
        octets4(address)[0] == 127
    }

    #[inline(always)]
    fn as_ipv6(address: Address4) -> [u32; 4] {
        mapped(address)
    }

    #[inline(always)]
    fn from_ipv6(address: [u32; 4]) -> Address4 {
        address[3]
    }

    #[inline(always)]
    fn of_pair(address4: u32, _: [u32; 4]) -> Address4 {
        address4
    }

    maps! {
        frontends: Hash<FrontendKey<Address4>, Frontend> = FRONTENDS4;
        backends: Hash<u32, Backend<Address4>> = BACKENDS4;
        node_addresses: Hash<Address4, u32> = NODE_ADDRESSES4;
        node_ranges: Trie<Address4, u32> = NODE_RANGES4;
        route_mtus: Trie<Address4, u32> = ROUTE_MTUS4;
        local_pods: Hash<Address4, u32> = LOCAL_PODS4;
        flow_index: Hash<FlowKey<Address4>, FlowPlace> = FLOW_INDEX4;
        flows: Flows<Address4> = FLOWS4;
        fragments: Lru<FragmentKey<Address4>, FragmentPorts> = FRAGMENTS4;
        inside: Trie<Address4, Inside> = INSIDE4;
        route_sources: Trie<RouteSourceKey<Address4>, Address4> = ROUTE_SOURCES4;
        tunnels: Trie<Address4, TunnelPeer> = TUNNELS4;
        peers: Hash<PeerKey<Address4>, Peer> = PEERS4;
        cidrs: Trie<CidrKey<Address4>, Peer> = CIDRS4;
        sources: Trie<SourceKey<Address4>, u32> = SOURCES4;
        vips: Hash<Address4, u32> = VIPS4;
    }
}

impl Family for V6 {
    type Address = Address6;

    const IPV6: bool = true;
    const UNSPECIFIED: Address6 = [0; 4];
    const LOOPBACK: Address6 = [0, 0, 0, 1_u32.to_be()];
    const HOST_PEER: Address6 = HOST_PEER6;
    const ICMP: u8 = ICMPV6;
    const ECHO_REQUEST: u8 = 128;
    const ECHO_REPLY: u8 = 129;
    const HEADER: u32 = 40;

    #[inline(always)]
    fn is_loopback(address: Address6) -> bool {
        address[0] | address[1] | address[2] == 0 && address[3] == Self::LOOPBACK[3]
    }

    #[inline(always)]
    fn as_ipv6(address: Address6) -> [u32; 4] {
        address
    }

    #[inline(always)]
    fn from_ipv6(address: [u32; 4]) -> Address6 {
        address
    }

    #[inline(always)]
    fn of_pair(_: u32, address6: [u32; 4]) -> Address6 {
        address6
    }

    maps! {
        frontends: Hash<FrontendKey<Address6>, Frontend> = FRONTENDS6;
        backends: Hash<u32, Backend<Address6>> = BACKENDS6;
        node_addresses: Hash<Address6, u32> = NODE_ADDRESSES6;
        node_ranges: Trie<Address6, u32> = NODE_RANGES6;
        route_mtus: Trie<Address6, u32> = ROUTE_MTUS6;
        local_pods: Hash<Address6, u32> = LOCAL_PODS6;
        flow_index: Hash<FlowKey<Address6>, FlowPlace> = FLOW_INDEX6;
        flows: Flows<Address6> = FLOWS6;
        fragments: Lru<FragmentKey<Address6>, FragmentPorts> = FRAGMENTS6;
        inside: Trie<Address6, Inside> = INSIDE6;
        route_sources: Trie<RouteSourceKey<Address6>, Address6> = ROUTE_SOURCES6;
        tunnels: Trie<Address6, TunnelPeer> = TUNNELS6;
        peers: Hash<PeerKey<Address6>, Peer> = PEERS6;
        cidrs: Trie<CidrKey<Address6>, Peer> = CIDRS6;
        sources: Trie<SourceKey<Address6>, u32> = SOURCES6;
        vips: Hash<Address6, u32> = VIPS6;
    }
}
