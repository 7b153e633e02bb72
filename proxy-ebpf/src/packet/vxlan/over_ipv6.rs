//! The tunnel over IPv6: UDP has a checksum, for receivers drop datagrams without (RFC 8200, 8.1). What the inner transport's own one
//! makes up for is not summed again (local checksum offload,
//! <https://elixir.bootlin.com/linux/v6.12/source/Documentation/networking/checksum-offloads.rst#L62>): no payload is read.

use proxy_common::address::{Address6, TCP, UDP};

use super::{HOPS, Inner, Outer, TYPE, datagram, halves};
use crate::machine::checksum::fold;
use crate::machine::frame::{ETH_IP, ETH_IPV6, ETHERNET, Frame};
use crate::maps::Family;
use crate::packet::description::Packet;

/// Length of the header.
const IP: u32 = 40;
/// Version of IP.
const VERSION: u8 = 0x60;
/// Offset of UDP's checksum in its header.
const CHECKSUM: u32 = 6;

/// Whether a packet's own checksum covers it from its transport's header on, which is next to that of IP.
#[inline(always)]
pub fn can_be_summed<B: Frame, F: Family>(frame: B, packet: &Packet<F>) -> bool {
    if packet.transport != packet.link + F::HEADER {
        return false;
    }
    match packet.protocol {
        TCP => true,
        UDP => frame
            .read::<u16>(ETHERNET + F::HEADER + CHECKSUM)
            .is_some_and(|sum| sum != 0),
        _ => false,
    }
}

/// Writes all from the Ethernet type on.
#[inline(always)]
pub(super) fn write<B: Frame, F: Family>(
    frame: B,
    [source, destination]: [&Address6; 2],
    outer: &Outer,
    inner: &Inner<'_, F>,
) -> bool {
    let mut datagram = datagram(outer, IP);
    let length = outer.length - IP;
    let sum = halves(&[u32::from(UDP).to_be(), length.to_be()])
        + halves(source)
        + halves(destination)
        + halves(&datagram)
        + halves(inner.ends)
        + carried(inner);
    datagram[1] |= checksum(sum);
    let first = [
        u32::from_ne_bytes([VERSION, outer.congestion << 4, 0, 0]),
        limits(length),
    ];
    frame.put(TYPE, &ETH_IPV6)
        && frame.put(ETHERNET, &first)
        && frame.put(ETHERNET + 8, source)
        && frame.put(ETHERNET + 24, destination)
        && frame.put(ETHERNET + IP, &datagram)
}

/// Length of what is carried, next header, hop limit.
#[inline(always)]
const fn limits(length: u32) -> u32 {
    let [_, _, high, low] = length.to_be_bytes();
    u32::from_ne_bytes([high, low, UDP, HOPS])
}

/// The sum of the inner frame's type and packet. The header of IPv4 makes up for itself, and the transport with what it carries for its
/// pseudo header; in that of IPv6 the addresses do the same for those of the header, and the length for its length.
#[inline(always)]
fn carried<F: Family>(inner: &Inner<'_, F>) -> u32 {
    let packet = inner.packet;
    let protocol = u32::from(u16::from_be_bytes([0, packet.protocol]).to_be());
    if F::IPV6 {
        let [_, _, next, hops] = inner.start[1].to_ne_bytes();
        return u32::from(ETH_IPV6)
            + halves(&[inner.start[0]])
            + u32::from(u16::from_ne_bytes([next, hops]))
            + (protocol ^ 0xffff);
    }
    let ends = [packet.tuple.source, packet.tuple.destination].map(|end| F::as_ipv6(end)[3]);
    let length = packet.length - F::HEADER;
    let pseudo = halves(&ends) + protocol + halves(&[length.to_be()]);
    u32::from(ETH_IP) + u32::from(fold(pseudo))
}

/// UDP's checksum, as the last half of the word that it stands in.
#[inline(always)]
const fn checksum(sum: u32) -> u32 {
    let sum = match fold(sum) {
        0 => 0xffff,
        sum => sum,
    };
    let [first, second] = sum.to_ne_bytes();
    u32::from_ne_bytes([0, 0, first, second])
}
