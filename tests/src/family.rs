//! The two families of addresses as the maps have them, for tests that write maps by hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aya::Pod;
use proxy_common::{
    address::{Address4, Address6, address4, address6, octets4, octets6},
    backends::{Backend4, Backend6},
    conntrack::{Flow4, Flow6, FlowKey4, FlowKey6, Head, Tuple},
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
    /// Key of `FLOW_INDEX`.
    type FlowKey: Pod;
    /// Value of `FLOWS`.
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
    /// The tuple of a packet as it arrives, if both ends are of this family.
    fn flow(source: SocketAddr, destination: SocketAddr, protocol: u8) -> Option<Self::FlowKey>;
    /// The key of a direction (0 or 1) of a flow.
    fn key(flow: &Self::Flow, direction: usize, protocol: u8) -> Self::FlowKey;
    /// Source and destination into which packets of a direction are turned.
    fn target(flow: &Self::Flow, direction: usize) -> (SocketAddr, SocketAddr);
    /// What else is known of a flow.
    fn facts(flow: &Self::Flow) -> Facts;
    /// Head and expiry, to be changed.
    fn life(flow: &mut Self::Flow) -> (&mut u64, &mut u32);
}

/// What is known of a flow, whatever its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its head.
    pub head: Head,
    /// Seconds since boot until which it lives.
    pub expires: u32,
    /// Epochs of policy.
    pub epoch: [u32; 2],
    /// Both ends.
    pub endpoint: [u16; 2],
    /// Cookies of rules.
    pub cookie: [u32; 2],
    /// Id of the Service port.
    pub service: u32,
    /// Id of the backend.
    pub backend: u32,
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

            fn flow(source: SocketAddr, destination: SocketAddr, protocol: u8) -> Option<$key> {
                Some($key {
                    tuple: Tuple {
                        source: Self::address(source.ip())?,
                        destination: Self::address(destination.ip())?,
                        source_port: source.port().to_be(),
                        destination_port: destination.port().to_be(),
                    },
                    protocol: protocol.into(),
                })
            }

            fn key(flow: &$flow, direction: usize, protocol: u8) -> $key {
                $key { tuple: flow.tuple(direction), protocol: protocol.into() }
            }

            fn target(flow: &$flow, direction: usize) -> (SocketAddr, SocketAddr) {
                let at = |address, port| {
                    SocketAddr::new($ip::from($to_octets(address)).into(), u16::from_be(port))
                };
                let to = &flow.target[direction];
                (at(to.source, to.source_port), at(to.destination, to.destination_port))
            }

            fn facts(flow: &$flow) -> Facts {
                Facts {
                    head: Head::unpack(flow.head),
                    expires: flow.expires,
                    epoch: flow.epoch,
                    endpoint: flow.endpoint,
                    cookie: flow.cookie,
                    service: flow.service,
                    backend: flow.backend,
                }
            }

            fn life(flow: &mut $flow) -> (&mut u64, &mut u32) {
                (&mut flow.head, &mut flow.expires)
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
