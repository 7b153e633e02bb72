//! Numbers of the maps in words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proxy_common::address::{Address4, Address6, octets4, octets6};

/// An IPv4 address of a map.
pub fn ip4(address: Address4) -> IpAddr {
    Ipv4Addr::from(octets4(address)).into()
}

/// An IPv6 address of a map; one that maps IPv4 shows as IPv4.
pub fn ip6(address: Address6) -> IpAddr {
    Ipv6Addr::from(octets6(address)).to_canonical()
}

/// An address with a port in network order.
pub fn socket(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, u16::from_be(port))
}

/// A hardware address.
pub fn mac(octets: [u8; 6]) -> String {
    octets.map(|octet| format!("{octet:02x}")).join(":")
}

/// A name, or the number if there is none; nothing for 0.
pub fn named(names: &std::collections::BTreeMap<u32, String>, id: u32) -> String {
    match (names.get(&id), id) {
        (Some(name), _) => name.clone(),
        (None, 0) => String::new(),
        (None, id) => format!("#{id}"),
    }
}
