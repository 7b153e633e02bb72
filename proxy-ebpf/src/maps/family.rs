//! The address family as a type: logic is written once, generic over [`Family`], and compiled for both.

use proxy_common::{conntrack::FlowState, endpoints::LocalPod, frontends::Frontend};
use proxy_common::{fragments::FragmentPorts, policy::peers::Peer};

use super::{Hash, Lru};

pub(super) mod sealed {
    /// Keeps [`super::Family`] to the two families there are.
    pub trait Sealed {}
}

/// A backend, whatever its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend<A> {
    /// Address that serves.
    pub address: A,
    /// Port that serves, network order.
    pub port: u16,
    /// `BACKEND_*` bits.
    pub flags: u8,
}

/// Addresses and ports of a flow. In keys the first side is the local one; in rewrites it is the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTuple<A> {
    /// Local side or source.
    pub from: A,
    /// Remote side or destination.
    pub to: A,
    /// Port of the local side or source, network order.
    pub from_port: u16,
    /// Port of the remote side or destination, network order.
    pub to_port: u16,
}

/// An address family: its address type, its maps and what their keys and values are made of.
pub trait Family: sealed::Sealed + Copy + 'static {
    /// Address in map form.
    type Address: Copy + PartialEq + 'static;
    /// Key of the conntrack maps.
    type FlowKey: Copy + 'static;
    /// Value of the conntrack maps.
    type Flow: Copy + 'static;
    /// Key of the fragment map.
    type FragmentKey: Copy + 'static;

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

    /// The frontend at an address, port (network order) and protocol.
    fn frontend(address: Self::Address, port: u16, protocol: u8) -> Option<&'static Frontend>;
    /// A backend by its id.
    fn backend(id: u32) -> Option<Backend<Self::Address>>;
    /// `ADDRESS_*` bits of an address; 0 if it is not one of this node's.
    fn node_address(address: Self::Address) -> u32;
    /// Whether the address is a loopback address.
    fn is_loopback(address: Self::Address) -> bool;
    /// The address as IPv6, IPv4 mapped: form of the client in affinity keys and of `SocketPeer`.
    fn as_ipv6(address: Self::Address) -> [u32; 4];
    /// The inverse of [`Self::as_ipv6`].
    fn from_ipv6(address: [u32; 4]) -> Self::Address;
    /// How to reach a pod of this node.
    fn local_pod(address: Self::Address) -> Option<&'static LocalPod>;

    /// `CONNTRACK4` or `CONNTRACK6`.
    fn conntrack() -> &'static Hash<Self::FlowKey, Self::Flow>;
    /// `NEW_FLOWS4` or `NEW_FLOWS6`.
    fn new_flows() -> &'static Lru<Self::FlowKey, Self::Flow>;
    /// `FRAGMENTS4` or `FRAGMENTS6`.
    fn fragments() -> &'static Lru<Self::FragmentKey, FragmentPorts>;

    /// Key of a flow in a scope.
    fn flow_key(scope: u32, protocol: u8, tuple: &FlowTuple<Self::Address>) -> Self::FlowKey;
    /// A flow's entry.
    fn flow(state: FlowState, rewrite: &FlowTuple<Self::Address>) -> Self::Flow;
    /// Makes a flow's entry that of its other direction: other flags, and a rewrite back to what `packet` came from.
    fn turn(flow: &mut Self::Flow, flags: u32, packet: &FlowTuple<Self::Address>);
    /// What is known of a flow.
    fn state(flow: &Self::Flow) -> &FlowState;
    /// Place of what is known of a flow in its entry.
    fn state_ptr(flow: *mut Self::Flow) -> *mut FlowState;
    /// Into what a flow is rewritten.
    fn rewrite(flow: &Self::Flow) -> FlowTuple<Self::Address>;
    /// Key of a fragmented datagram.
    fn fragment_key(
        source: Self::Address,
        destination: Self::Address,
        identification: u32,
        scope: u32,
        protocol: u8,
    ) -> Self::FragmentKey;

    /// Class of a known address (`PEERS*`).
    fn peer(side: u32, address: Self::Address) -> Option<Peer>;
    /// Class of the longest prefix that holds an address (`CIDRS*`).
    fn cidr(side: u32, address: Self::Address) -> Option<Peer>;

    /// Remembers that datagrams from a backend are from a frontend, for the socket with this cookie.
    fn remember_reverse(cookie: u64, backend: (Self::Address, u16), frontend: (Self::Address, u16));
    /// The frontend that the socket believes to hear when a backend sends.
    fn reverse(cookie: u64, address: Self::Address, port: u16) -> Option<(Self::Address, u16)>;
    /// Forgets what [`Self::remember_reverse`] remembered.
    fn forget_reverse(cookie: u64, address: Self::Address, port: u16);
}
