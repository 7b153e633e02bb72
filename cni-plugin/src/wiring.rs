//! The pod's interface: a pair made in place, its addresses, routes and neighbours.
//!
//! Both ends are made directly where they belong: moving one costs 16 ms in the kernel and does not run in
//! parallel. Addresses skip duplicate detection and the gateway's neighbour entry is static, so that the
//! first packet of the pod needs no answer of anyone.

pub mod addresses;
pub mod alias;
pub mod bucket;
mod departures;
pub mod device;
pub mod inspect;
pub mod mtu;
pub mod name;
pub mod netkit;
pub mod netlink;
pub mod netns;
pub mod occupied;
pub mod qdisc;
pub mod queue;
pub mod route;
pub mod rule;
pub mod sizes;
pub mod sysctl;
pub mod veth;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of links of ours on the node that need one and have none, of no use to anybody but the kernel's check of sources.
pub const LINK4: Ipv4Addr = Ipv4Addr::new(169, 254, 87, 1);
/// Hardware address of every host side: nobody but the pod at the other end sees it.
pub const HOST_MAC: [u8; 6] = [0xee; 6];
/// Gateway of every pod, answered by the static neighbour entry alone.
pub const GATEWAY4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Gateway of every pod; the host side has this address.
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// Routing protocol number on routes to local pods.
pub const ROUTE_PROTOCOL: u8 = 88;

/// The gateway of a family.
pub const fn gateway(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => IpAddr::V4(GATEWAY4),
        IpAddr::V6(_) => IpAddr::V6(GATEWAY6),
    }
}

/// Length of a prefix that holds one address.
pub const fn full_prefix(of: IpAddr) -> u8 {
    match of {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}
