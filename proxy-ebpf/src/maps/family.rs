//! The address family as a type: logic is written once, generic over [`Family`], and compiled for both.

use proxy_common::{
    backends::Backend,
    conntrack::{FlowKey, FlowPlace},
    fragments::{FragmentKey, FragmentPorts},
    frontends::{Frontend, FrontendKey},
    inside::Inside,
    policy::peers::{CidrKey, Peer, PeerKey},
    route_sources::RouteSourceKey,
    sources::SourceKey,
    tunnel::TunnelPeer,
};

use super::{Flows, Hash, Lru, Trie};

pub(super) mod sealed {
    /// Keeps [`super::Family`] to the two families there are.
    pub trait Sealed {}
}

/// An address family: its address type, its constants and its maps.
pub trait Family: sealed::Sealed + Copy + 'static {
    /// Address in map form.
    type Address: Copy + PartialEq + 'static;

    /// True for IPv6.
    const IPV6: bool;
    /// No address: key of frontends on all addresses of the node.
    const UNSPECIFIED: Self::Address;
    /// `127.0.0.1` or `::1`.
    const LOOPBACK: Self::Address;
    /// `HOST_PEER4` or `HOST_PEER6`.
    const HOST_PEER: Self::Address;
    /// IP protocol number of the family's ICMP.
    const ICMP: u8;
    /// ICMP: echo request.
    const ECHO_REQUEST: u8;
    /// ICMP: echo reply.
    const ECHO_REPLY: u8;
    /// Length of the IP header without options or extension headers.
    const HEADER: u32;

    /// Whether the address is a loopback address.
    fn is_loopback(address: Self::Address) -> bool;
    /// The address as IPv6, IPv4 mapped: form of the client in affinity keys and of `SocketPeer`.
    fn as_ipv6(address: Self::Address) -> [u32; 4];
    /// The inverse of [`Self::as_ipv6`].
    fn from_ipv6(address: [u32; 4]) -> Self::Address;
    /// The one of a pair of addresses that is of this family.
    fn of_pair(address4: u32, address6: [u32; 4]) -> Self::Address;

    /// `FRONTENDS4` or `FRONTENDS6`.
    fn frontends() -> &'static Hash<FrontendKey<Self::Address>, Frontend>;
    /// `BACKENDS4` or `BACKENDS6`.
    fn backends() -> &'static Hash<u32, Backend<Self::Address>>;
    /// `NODE_ADDRESSES4` or `NODE_ADDRESSES6`.
    fn node_addresses() -> &'static Hash<Self::Address, u32>;
    /// `NODE_RANGES4` or `NODE_RANGES6`.
    fn node_ranges() -> &'static Trie<Self::Address, u32>;
    /// `ROUTE_MTUS4` or `ROUTE_MTUS6`.
    fn route_mtus() -> &'static Trie<Self::Address, u32>;
    /// `LOCAL_PODS4` or `LOCAL_PODS6`.
    fn local_pods() -> &'static Hash<Self::Address, u32>;
    /// `FLOW_INDEX4` or `FLOW_INDEX6`.
    fn flow_index() -> &'static Hash<FlowKey<Self::Address>, FlowPlace>;
    /// `FLOWS4` or `FLOWS6`.
    fn flows() -> &'static Flows<Self::Address>;
    /// `FRAGMENTS4` or `FRAGMENTS6`.
    fn fragments() -> &'static Lru<FragmentKey<Self::Address>, FragmentPorts>;
    /// `INSIDE4` or `INSIDE6`.
    fn inside() -> &'static Trie<Self::Address, Inside>;
    /// `ROUTE_SOURCES4` or `ROUTE_SOURCES6`.
    fn route_sources() -> &'static Trie<RouteSourceKey<Self::Address>, Self::Address>;
    /// `TUNNELS4` or `TUNNELS6`.
    fn tunnels() -> &'static Trie<Self::Address, TunnelPeer>;
    /// `PEERS4` or `PEERS6`.
    fn peers() -> &'static Hash<PeerKey<Self::Address>, Peer>;
    /// `CIDRS4` or `CIDRS6`.
    fn cidrs() -> &'static Trie<CidrKey<Self::Address>, Peer>;
    /// `SOURCES4` or `SOURCES6`.
    fn sources() -> &'static Trie<SourceKey<Self::Address>, u32>;
    /// `VIPS4` or `VIPS6`.
    fn vips() -> &'static Hash<Self::Address, u32>;
}
