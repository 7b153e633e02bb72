//! The two families of addresses as the maps have them, for tests that write maps by hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aya::Pod;
use proxy_common::{
    address::{Address4, Address6, address4, address6, octets4, octets6},
    backends::{Backend4, Backend6},
    conntrack::{Flow4, Flow6, FlowKey4, FlowKey6, FlowState},
    frontends::{FrontendKey4, FrontendKey6},
    policy::peers::{CidrKey4, CidrKey6, PeerKey4, PeerKey6},
};

/// Types and names of the maps of a family. Ports are in host order here.
pub trait Family {
    /// An address.
    type Address: Pod + Default;
    /// Value of `BACKENDS`.
    type Backend: Pod;
    /// Key of `FRONTENDS`.
    type FrontendKey: Pod;
    /// Key of `PEERS`.
    type PeerKey: Pod;
    /// Key of `CIDRS`.
    type CidrKey: Pod;
    /// Key of `CONNTRACK` and `NEW_FLOWS`.
    type FlowKey: Pod;
    /// Value of `CONNTRACK` and `NEW_FLOWS`.
    type Flow: Pod;

    /// The family's map of this name.
    fn map(name: &str) -> String;
    /// The address, if it is of this family.
    fn address(ip: IpAddr) -> Option<Self::Address>;
    /// A backend.
    fn backend(address: Self::Address, port: u16, protocol: u8) -> Self::Backend;
    /// What clients connect to.
    fn frontend(address: Self::Address, port: u16, protocol: u8) -> Self::FrontendKey;
    /// A peer of policy.
    fn peer(side: u32, address: Self::Address) -> Self::PeerKey;
    /// A range of peers.
    fn cidr(side: u32, address: Self::Address) -> Self::CidrKey;
    /// A flow of a scope, if both ends are of this family.
    fn flow(
        scope: u32,
        local: SocketAddr,
        remote: SocketAddr,
        protocol: u8,
    ) -> Option<Self::FlowKey>;
    /// What is known of a flow, and the source and destination into which its packets are turned.
    fn state(flow: &Self::Flow) -> (FlowState, (SocketAddr, SocketAddr));
    /// What is known of a flow, to be changed.
    fn state_mut(flow: &mut Self::Flow) -> &mut FlowState;
}

macro_rules! family {
    (
        $(#[$doc:meta])* $name:ident = $number:literal, $variant:ident,
        $ip:ident: $from_octets:ident $address:ty: $to_octets:ident,
        $backend:ident, $frontend:ident, $peer:ident, $cidr:ident, $key:ident, $flow:ident
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Family for $name {
            type Address = $address;
            type Backend = $backend;
            type FrontendKey = $frontend;
            type PeerKey = $peer;
            type CidrKey = $cidr;
            type FlowKey = $key;
            type Flow = $flow;

            fn map(name: &str) -> String {
                format!(concat!("{}", $number), name)
            }

            fn address(ip: IpAddr) -> Option<$address> {
                match ip {
                    IpAddr::$variant(ip) => Some($from_octets(ip.octets())),
                    _ => None,
                }
            }

            fn backend(address: $address, port: u16, protocol: u8) -> $backend {
                $backend { address, port: port.to_be(), protocol, flags: 0 }
            }

            fn frontend(address: $address, port: u16, protocol: u8) -> $frontend {
                $frontend { address, port: port.to_be(), protocol, pad: 0 }
            }

            fn peer(side: u32, address: $address) -> $peer {
                $peer { side, address }
            }

            fn cidr(side: u32, address: $address) -> $cidr {
                $cidr { side, address }
            }

            fn flow(
                scope: u32,
                local: SocketAddr,
                remote: SocketAddr,
                protocol: u8,
            ) -> Option<$key> {
                Some($key {
                    scope,
                    local: Self::address(local.ip())?,
                    remote: Self::address(remote.ip())?,
                    local_port: local.port().to_be(),
                    remote_port: remote.port().to_be(),
                    protocol,
                    pad: [0; 3],
                })
            }

            fn state_mut(flow: &mut $flow) -> &mut FlowState {
                &mut flow.state
            }

            fn state(flow: &$flow) -> (FlowState, (SocketAddr, SocketAddr)) {
                let at = |address, port| {
                    SocketAddr::new($ip::from($to_octets(address)).into(), u16::from_be(port))
                };
                let to = &flow.rewrite;
                (flow.state, (
                    at(to.source, to.source_port),
                    at(to.destination, to.destination_port),
                ))
            }
        }
    };
}

family!(
    /// IPv4.
    Four = "4", V4, Ipv4Addr: address4 Address4: octets4,
    Backend4, FrontendKey4, PeerKey4, CidrKey4, FlowKey4, Flow4
);
family!(
    /// IPv6.
    Six = "6", V6, Ipv6Addr: address6 Address6: octets6,
    Backend6, FrontendKey6, PeerKey6, CidrKey6, FlowKey6, Flow6
);
