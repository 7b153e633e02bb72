//! What a tunnel puts around a frame (RFC 7348), where no device does it: Ethernet, IP, UDP and VXLAN.

use proxy_common::address::Address6;
use proxy_common::tunnel::{TUNNEL_ROOM4, TUNNEL_ROOM6};

use super::description::Packet;
use crate::machine::frame::{ETHERNET, Frame};
use crate::maps::Family;

mod over_ipv4;
mod over_ipv6;

pub use over_ipv6::can_be_summed;

/// Offset of the Ethernet type.
const TYPE: u32 = 12;
/// Words of the headers of UDP and VXLAN.
const DATAGRAM: usize = 4;
/// Time to live, as the device has it.
const HOPS: u8 = 64;
/// Congestion was experienced (RFC 3168): of outer headers it says so itself.
const CONGESTED: u8 = 3;
/// The transport says that it can be told of congestion.
const CAPABLE: u8 = 2;
/// VXLAN: there is a number of a network.
const HAS_NETWORK: u8 = 0x08;
/// The first of the ports from which is sent; which of them is a hash of the flow.
const PORTS: u32 = 0xc000;

/// Where it leads: this node's address, and that of the other one.
pub enum Ends<'a> {
    /// Network order.
    V4([u32; 2]),
    /// Network order.
    V6([&'a Address6; 2]),
}

/// What it says.
pub struct Outer {
    /// Length of the packet that is made.
    pub length: u32,
    /// Ports from which and to which, network order.
    pub ports: [u16; 2],
    /// The number of the network.
    pub network: u32,
    /// The two bits of congestion (RFC 3168).
    pub congestion: u8,
}

/// The frame that it is put around.
pub struct Inner<'a, F: Family> {
    /// As it was parsed, before.
    pub packet: &'a Packet<F>,
    /// The first words of its IP header.
    pub start: [u32; 2],
    /// Its hardware addresses.
    pub ends: &'a [u32; 3],
}

/// Its length: as many bytes as a packet needs more room for, of which the inner Ethernet header is there already.
#[inline(always)]
pub const fn around(over_ipv6: bool) -> u32 {
    if over_ipv6 {
        TUNNEL_ROOM6
    } else {
        TUNNEL_ROOM4
    }
}

/// Writes it, but for the Ethernet addresses, into the first bytes of a frame that has room there. Over IPv6 the packet
/// [can be summed](can_be_summed).
#[inline(always)]
pub fn surround<B: Frame, F: Family>(
    frame: B,
    (packet, inner): (&Packet<F>, &[u32; 3]),
    ends: &Ends<'_>,
    [port, network]: [u32; 2],
) -> bool {
    let over_ipv6 = matches!(ends, Ends::V6(_));
    let Some(start) = frame.read::<[u32; 2]>(around(over_ipv6) + ETHERNET) else {
        return false;
    };
    let outer = Outer {
        length: frame.length() - ETHERNET,
        ports: [port_of(packet), port as u16],
        network,
        congestion: congestion(start[0], F::IPV6),
    };
    match *ends {
        Ends::V4(ends) => over_ipv4::write(frame, ends, &outer),
        Ends::V6(ends) => {
            let inner = Inner {
                packet,
                start,
                ends: inner,
            };
            over_ipv6::write(frame, ends, &outer, &inner)
        }
    }
}

/// What the outer header says of congestion, by the first word of the inner one (RFC 6040, 4.1, as the kernel does it).
#[inline(always)]
const fn congestion(class: u32, ipv6: bool) -> u8 {
    let second = class.to_ne_bytes()[1];
    let inner = 3 & if ipv6 { second >> 4 } else { second };
    if inner == CONGESTED { CAPABLE } else { inner }
}

/// UDP without a checksum, and VXLAN, behind an IP header of this length.
#[inline(always)]
const fn datagram(outer: &Outer, header: u32) -> [u32; DATAGRAM] {
    let [_, _, high, low] = (outer.length - header).to_be_bytes();
    let [from, to] = [outer.ports[0].to_ne_bytes(), outer.ports[1].to_ne_bytes()];
    let [_, a, b, c] = outer.network.to_be_bytes();
    [
        u32::from_ne_bytes([from[0], from[1], to[0], to[1]]),
        u32::from_ne_bytes([high, low, 0, 0]),
        u32::from_ne_bytes([HAS_NETWORK, 0, 0, 0]),
        u32::from_ne_bytes([a, b, c, 0]),
    ]
}

/// The sum of words by halves, not folded.
#[inline(always)]
const fn halves<const N: usize>(words: &[u32; N]) -> u32 {
    let mut sum = 0;
    let mut word = 0;
    while word < N {
        sum += (words[word] & 0xffff) + (words[word] >> 16);
        word += 1;
    }
    sum
}

/// The port from which is sent: so routers spread flows, and keep each to one way.
#[inline(always)]
fn port_of<F: Family>(packet: &Packet<F>) -> u16 {
    let ends = F::as_ipv6(packet.tuple.source)[3] ^ F::as_ipv6(packet.tuple.destination)[3];
    let ports =
        u32::from(packet.tuple.source_port) << 16 | u32::from(packet.tuple.destination_port);
    let hash = (ends ^ ports).wrapping_mul(0x9e37_79b1) >> 18;
    ((PORTS | hash) as u16).to_be()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const OUTER: Outer = Outer {
        length: 0x0203 + 20,
        ports: [0xc001_u16.to_be(), 4789_u16.to_be()],
        network: 0x12_3456,
        congestion: 1,
    };

    /// One's complement over big-endian halves, by the book.
    pub(super) fn sum(bytes: &[u8]) -> u16 {
        let halves = bytes
            .chunks(2)
            .map(|pair| u64::from(pair[0]) << 8 | u64::from(pair[1]));
        (halves.sum::<u64>() % 0xffff) as u16
    }

    #[test]
    fn the_datagram_says_what_is_in_it() {
        let datagram = datagram(&OUTER, 20).map(u32::to_ne_bytes);
        let expected = [
            0xc0, 1, 0x12, 0xb5, 2, 3, 0, 0, 8, 0, 0, 0, 0x12, 0x34, 0x56, 0,
        ];
        assert_eq!(datagram.as_flattened(), expected);
    }

    #[test]
    fn congestion_is_told_by_the_outer_header_itself() {
        for inner in 0..3 {
            assert_eq!(
                congestion(u32::from_ne_bytes([0x45, 0xfc | inner, 0, 0]), false),
                inner
            );
            assert_eq!(
                congestion(u32::from_ne_bytes([0x6f, inner << 4 | 0xcf, 0, 0]), true),
                inner
            );
        }
        assert_eq!(
            congestion(u32::from_ne_bytes([0x45, 3, 0, 0]), false),
            CAPABLE
        );
        assert_eq!(
            congestion(u32::from_ne_bytes([0x60, 0x30, 0, 0]), true),
            CAPABLE
        );
    }
}
