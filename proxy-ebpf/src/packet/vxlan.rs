//! What a tunnel over IPv4 puts around a frame (RFC 7348), where no device does it: Ethernet, IP, UDP and VXLAN.

use proxy_common::address::UDP;
use proxy_common::tunnel::TUNNEL_ROOM4;

use super::description::Packet;
use crate::machine::checksum::fold;
use crate::machine::frame::{ETH_IP, ETHERNET, Frame};
use crate::maps::Family;

/// Its length: as many bytes as a packet needs more room for, of which the inner Ethernet header is there already.
pub const AROUND4: u32 = TUNNEL_ROOM4;

/// Offsets, lengths of headers.
const TYPE: u32 = 12;
const IP: u32 = 20;
const DATAGRAM: u32 = 16;
/// Version of IP and length of its header.
const VERSION: u8 = 0x45;
/// Do not fragment.
const WHOLE: u8 = 0x40;
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

/// Where it leads.
pub struct Outer {
    /// Source and destination, network order.
    pub ends: [u32; 2],
    /// The tunnel's port, network order.
    pub port: u16,
    /// The number of its network.
    pub network: u32,
}

/// Writes it, but for the Ethernet addresses, into the first bytes of a frame whose `length` it is part of. The packet is that of the
/// inner frame, as parsed before.
#[inline(always)]
pub fn surround<B: Frame, F: Family>(
    frame: B,
    packet: &Packet<F>,
    outer: &Outer,
    length: u32,
) -> bool {
    let Some(class) = frame.read::<u16>(AROUND4 + ETHERNET) else {
        return false;
    };
    let length = length - ETHERNET;
    frame.put(TYPE, &ETH_IP)
        && frame.put(ETHERNET, &ip(outer, length, congestion(class, F::IPV6)))
        && frame.put(
            ETHERNET + IP,
            &datagram(outer, length - IP, port_of(packet)),
        )
}

/// What the outer header says of congestion, by the first two bytes of the inner one (RFC 6040, 4.1, as the kernel does it).
#[inline(always)]
const fn congestion(class: u16, ipv6: bool) -> u8 {
    let second = class.to_ne_bytes()[1];
    let inner = 3 & if ipv6 { second >> 4 } else { second };
    if inner == CONGESTED { CAPABLE } else { inner }
}

#[inline(always)]
const fn ip(outer: &Outer, length: u32, congestion: u8) -> [u32; 5] {
    let [_, _, high, low] = length.to_be_bytes();
    let mut words = [
        u32::from_ne_bytes([VERSION, congestion, high, low]),
        u32::from_ne_bytes([0, 0, WHOLE, 0]),
        u32::from_ne_bytes([HOPS, UDP, 0, 0]),
        outer.ends[0],
        outer.ends[1],
    ];
    let mut sum = 0;
    let mut word = 0;
    while word < words.len() {
        sum += (words[word] & 0xffff) + (words[word] >> 16);
        word += 1;
    }
    let [first, second] = fold(sum).to_ne_bytes();
    words[2] |= u32::from_ne_bytes([0, 0, first, second]);
    words
}

/// UDP without a checksum, and VXLAN.
#[inline(always)]
const fn datagram(outer: &Outer, length: u32, from: u16) -> [u32; DATAGRAM as usize / 4] {
    let [_, _, high, low] = length.to_be_bytes();
    let (from, to) = (from.to_ne_bytes(), outer.port.to_ne_bytes());
    let [_, a, b, c] = outer.network.to_be_bytes();
    [
        u32::from_ne_bytes([from[0], from[1], to[0], to[1]]),
        u32::from_ne_bytes([high, low, 0, 0]),
        u32::from_ne_bytes([HAS_NETWORK, 0, 0, 0]),
        u32::from_ne_bytes([a, b, c, 0]),
    ]
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
    use super::{CAPABLE, Outer, congestion, datagram, ip};

    const OUTER: Outer = Outer {
        ends: [
            u32::from_ne_bytes([192, 0, 2, 1]),
            u32::from_ne_bytes([192, 0, 2, 77]),
        ],
        port: 4789_u16.to_be(),
        network: 0x12_3456,
    };

    /// One's complement over big-endian halves, by the book.
    fn sum(bytes: &[u8]) -> u16 {
        let halves = bytes
            .chunks(2)
            .map(|pair| u64::from(pair[0]) << 8 | u64::from(pair[1]));
        (halves.sum::<u64>() % 0xffff) as u16
    }

    fn bytes<const N: usize>(words: [u32; N]) -> [[u8; 4]; N] {
        words.map(u32::to_ne_bytes)
    }

    #[test]
    fn headers_say_what_is_in_them() {
        for length in [56, 57, 1500, 9000, 65_535] {
            let header = bytes(ip(&OUTER, length, 1));
            let header = header.as_flattened();
            assert_eq!(sum(header), 0, "length {length}");
            assert_eq!(header[..2], [0x45, 1]);
            assert_eq!(header[2..4], (length as u16).to_be_bytes());
            assert_eq!(header[6..10], [0x40, 0, 64, 17]);
            assert_eq!(header[12..], [192, 0, 2, 1, 192, 0, 2, 77]);
        }
        let datagram = bytes(datagram(&OUTER, 0x0203, 0xc001_u16.to_be()));
        let expected = [
            0xc0, 1, 0x12, 0xb5, 2, 3, 0, 0, 8, 0, 0, 0, 0x12, 0x34, 0x56, 0,
        ];
        assert_eq!(datagram.as_flattened(), expected);
    }

    #[test]
    fn congestion_is_told_by_the_outer_header_itself() {
        for inner in 0..3 {
            assert_eq!(
                congestion(u16::from_ne_bytes([0x45, 0xfc | inner]), false),
                inner
            );
            assert_eq!(
                congestion(u16::from_ne_bytes([0x6f, inner << 4 | 0xcf]), true),
                inner
            );
        }
        assert_eq!(congestion(u16::from_ne_bytes([0x45, 3]), false), CAPABLE);
        assert_eq!(congestion(u16::from_ne_bytes([0x60, 0x30]), true), CAPABLE);
    }
}
