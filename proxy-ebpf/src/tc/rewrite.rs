//! Rewriting of addresses and ports, with helpers only: they alone keep checksums right whether the sender,
//! a program or the device computes them.

use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::counters::REWRITE_FAILED;

use super::address::same;
use super::packet::{ERROR, LATER_FRAGMENT, Packet, UNKNOWN_FRAGMENT};
use super::skb::{ETHERNET, MANGLED_ZERO, Skb, difference, fold};
use super::verdict::{CONTINUE, Verdict, dropped};
use super::wire::Wire;
use crate::maps::Family;

/// Offset of the IPv4 header's checksum.
const HEADER_CHECKSUM: u32 = ETHERNET + 10;

/// Offset of the addresses, which follow each other in both families.
#[inline(always)]
const fn addresses<F: Family>() -> u32 {
    if F::IPV6 { 8 } else { 12 }
}

/// Offset of a transport's checksum, and the flags for its update.
#[inline(always)]
const fn checksum<F: Family>(protocol: u8) -> Option<(u32, u64)> {
    match protocol {
        TCP => Some((16, 0)),
        UDP => Some((6, MANGLED_ZERO)),
        // ICMP for IPv6 sums the pseudo header, ICMP does not; SCTP's CRC holds no addresses.
        _ if F::IPV6 && protocol == F::ICMP => Some((2, 0)),
        _ => None,
    }
}

/// Turns the packet's flow into its `target`.
#[inline(always)]
pub fn rewrite<F: Wire>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let done = if packet.shape == ERROR {
        error(skb, packet)
    } else {
        plain(skb, packet)
    };
    if !done {
        return dropped(REWRITE_FAILED);
    }
    packet.flow = packet.target;
    CONTINUE
}

#[inline(always)]
fn plain<F: Wire>(skb: Skb, packet: &mut Packet<F>) -> bool {
    let has_transport = packet.shape != LATER_FRAGMENT && packet.shape != UNKNOWN_FRAGMENT;
    let checksum = if has_transport {
        checksum::<F>(packet.protocol)
    } else {
        None
    };
    let ports = [packet.flow.from_port, packet.flow.to_port];
    let new_ports = [packet.target.from_port, packet.target.to_port];
    if let Some(checksum) = checksum
        && packet.protocol != F::ICMP
        && packet.transport == F::PLAIN_TRANSPORT as u32
    {
        return together(skb, packet, checksum);
    }
    if !outer::<F>(
        skb,
        packet,
        [packet.target.from, packet.target.to],
        packet.transport,
        checksum,
    ) {
        return false;
    }
    if !has_transport || ports == new_ports || packet.protocol == F::ICMP {
        return true;
    }
    if packet.protocol == SCTP {
        // Its CRC cannot be updated in place.
        return false;
    }
    if let Some((offset, flags)) = checksum
        && !skb.word_checksum(
            packet.transport + offset,
            word(ports),
            word(new_ports),
            flags | 4,
        )
    {
        return false;
    }
    skb.store(packet.transport, &new_ports)
}

/// The header's checksum, addresses and ports of IPv4, which follow each other.
#[derive(Clone, Copy)]
#[repr(C, packed(2))]
struct Together4 {
    checksum: u16,
    addresses: [u32; 2],
    ports: [u16; 2],
}

/// Addresses and ports of IPv6, which follow each other.
#[derive(Clone, Copy)]
#[repr(C)]
struct Together6<A> {
    addresses: [A; 2],
    ports: [u16; 2],
}

/// The plain case of TCP and UDP, where one write does for all: each helper looks anew whether it may write.
#[inline(always)]
fn together<F: Wire>(skb: Skb, packet: &mut Packet<F>, (checksum, flags): (u32, u64)) -> bool {
    let at = packet.transport + checksum;
    let old = [packet.source, packet.destination];
    let addresses = [packet.target.from, packet.target.to];
    let change = if F::IPV6 {
        difference(&old, &addresses)
    } else {
        difference4::<F>(old, addresses)
    };
    let moved = !same(&old, &addresses);
    if moved && !skb.address_checksum(at, change, F::IPV6, flags) {
        return false;
    }
    let was = word([packet.flow.from_port, packet.flow.to_port]);
    let ports = [packet.target.from_port, packet.target.to_port];
    if was != word(ports) && !skb.word_checksum(at, was, word(ports), flags | 4) {
        return false;
    }
    packet.source = addresses[0];
    packet.destination = addresses[1];
    if F::IPV6 {
        let whole = Together6 { addresses, ports };
        return skb.store(ETHERNET + self::addresses::<F>(), &whole);
    }
    let Some(header) = skb.read::<u16>(HEADER_CHECKSUM as usize) else {
        return false;
    };
    let whole = Together4 {
        checksum: fold(u32::from(!header) + (change & 0xffff) + (change >> 16)),
        addresses: addresses.map(low::<F>),
        ports,
    };
    skb.store(HEADER_CHECKSUM, &whole)
}

/// [`difference`] of IPv4 addresses, without a helper.
#[inline(always)]
fn difference4<F: Family>(old: [F::Address; 2], new: [F::Address; 2]) -> u32 {
    let sum = u64::from(!low::<F>(old[0]))
        + u64::from(!low::<F>(old[1]))
        + u64::from(low::<F>(new[0]))
        + u64::from(low::<F>(new[1]));
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}

/// The last word of an address: all of an IPv4 one.
#[inline(always)]
fn low<F: Family>(address: F::Address) -> u32 {
    F::as_ipv6(address)[3]
}

#[inline(always)]
const fn word(ports: [u16; 2]) -> u32 {
    let [a, b] = [ports[0].to_ne_bytes(), ports[1].to_ne_bytes()];
    u32::from_ne_bytes([a[0], a[1], b[0], b[1]])
}

/// Rewrites the outer addresses, and takes them into the checksums that hold them.
#[inline(always)]
fn outer<F: Family>(
    skb: Skb,
    packet: &mut Packet<F>,
    new: [F::Address; 2],
    transport: u32,
    checksum: Option<(u32, u64)>,
) -> bool {
    let old = [packet.source, packet.destination];
    if same(&old, &new) {
        return true;
    }
    let change = difference(&old, &new);
    if !F::IPV6 && !skb.header_checksum(HEADER_CHECKSUM, change) {
        return false;
    }
    if let Some((offset, flags)) = checksum
        && !skb.address_checksum(transport + offset, change, F::IPV6, flags)
    {
        return false;
    }
    packet.source = new[0];
    packet.destination = new[1];
    skb.store(ETHERNET + addresses::<F>(), &new)
}

/// An ICMP error: the quoted packet travels the other way. Its own transport checksum is left as it is:
/// receivers find the flow by addresses and ports, and mostly it is not even quoted.
#[inline(always)]
fn error<F: Family>(skb: Skb, packet: &mut Packet<F>) -> bool {
    let icmp_checksum = packet.transport + 2;
    let old = [packet.flow.to, packet.flow.from];
    let new = [packet.target.to, packet.target.from];
    let change = difference(&old, &new);
    // IPv4: the quoted header's checksum takes the change up, so ICMP's own sum stays.
    let summed = if F::IPV6 {
        skb.word_checksum(icmp_checksum, 0, change, 0)
    } else {
        skb.header_checksum(packet.quoted + 10, change)
    };
    if !summed || !skb.store(packet.quoted + addresses::<F>(), &new) {
        return false;
    }
    let ports = [packet.flow.to_port, packet.flow.from_port];
    let new_ports = [packet.target.to_port, packet.target.from_port];
    if ports != new_ports && packet.protocol != F::ICMP {
        let (old, new) = (word(ports), word(new_ports));
        if !skb.word_checksum(icmp_checksum, old, new, 4)
            || !skb.store(packet.quoted_transport, &new_ports)
        {
            return false;
        }
    }
    // A router on the way keeps its own address; the flow's ends take their new ones.
    let source = if same(&packet.source, &packet.flow.from) {
        packet.target.from
    } else {
        packet.source
    };
    let destination = if same(&packet.destination, &packet.flow.to) {
        packet.target.to
    } else {
        packet.destination
    };
    let checksum = if F::IPV6 { Some((2, 0)) } else { None };
    outer::<F>(
        skb,
        packet,
        [source, destination],
        packet.transport,
        checksum,
    )
}
