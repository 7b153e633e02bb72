//! Rewriting of addresses and ports. Checksums are changed by the frame's means only: they alone keep them right
//! whether the sender, a program or the device computes them.

use core::ptr::read_volatile;

use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::counters::REWRITE_FAILED;

use super::description::{ERROR, LATER_FRAGMENT, Packet, Target, WHOLE};
use crate::machine::checksum::{difference, fold};
use crate::machine::crc32c;
use crate::machine::frame::{Balance, Checksum, Frame};
use crate::machine::global::global;
use crate::machine::skb::Skb as Buffer;
use crate::machine::verdict::CONTINUE;
use crate::machine::words::{copy, same};
use crate::maps::Family;

global! {
    /// Turns the tuple of any packet into `target`, by helpers.
    pub fn rewrite_any(skb, packet: Packet, target: Target) = turn
}

#[inline(always)]
fn turn<F: Family>(skb: Buffer, packet: &mut Packet<F>, target: &mut Target<F>) -> Verdict {
    let frame = skb.shared();
    let done = if packet.shape == ERROR {
        error(frame, packet, target)
    } else {
        apart(frame, packet, target)
    };
    if !done {
        return dropped(REWRITE_FAILED);
    }
    // SAFETY: two values made of words.
    unsafe { copy(&raw const *target, &raw mut packet.tuple) };
    CONTINUE
}

/// Offset of the addresses, which follow each other in both families.
#[inline(always)]
const fn at_addresses<F: Family>() -> u32 {
    if F::IPV6 { 8 } else { 12 }
}

/// Offset of the IPv4 header's checksum.
const HEADER_CHECKSUM: u32 = 10;

/// The checksum of a transport that begins at `at`, if a change of addresses or ports changes it.
#[inline(always)]
const fn checksum<F: Family>(protocol: u8, at: u32) -> Option<Checksum> {
    let offset = match protocol {
        TCP => 16,
        UDP => 6,
        // ICMP for IPv6 sums the pseudo header, ICMP does not; SCTP's CRC holds no addresses.
        _ if F::IPV6 && protocol == F::ICMP => 2,
        _ => return None,
    };
    Some(Checksum {
        at: at + offset,
        may_be_absent: protocol == UDP,
        ipv6: F::IPV6,
    })
}

/// The checksum of a plain packet: one of TCP or UDP, with all that changes near its start.
#[inline(always)]
pub fn plain_checksum<F: Family>(packet: &Packet<F>) -> Option<Checksum> {
    if packet.shape >= LATER_FRAGMENT || packet.protocol == F::ICMP || !packet.is_plain() {
        return None;
    }
    checksum::<F>(packet.protocol, packet.transport)
}

/// One after the other: addresses, then ports.
#[inline(always)]
fn apart<F: Family>(frame: impl Frame, packet: &mut Packet<F>, target: &Target<F>) -> bool {
    let has_transport = packet.shape < LATER_FRAGMENT;
    let sum = if has_transport {
        checksum::<F>(packet.protocol, packet.transport)
    } else {
        None
    };
    if !outer::<F>(frame, packet, [target.source, target.destination], sum) {
        return false;
    }
    let [old, new] = [ports_of(&packet.tuple), ports_of(target)];
    if !has_transport || old == new {
        return true;
    }
    if packet.protocol == F::ICMP {
        let at = packet.transport;
        return identifier::<F>(frame, at, at, [old[0], new[0]]);
    }
    if packet.protocol == SCTP {
        return association_ports(frame, packet, word(old), word(new));
    }
    if let Some(sum) = sum
        && !frame.word_checksum(sum, word(old), word(new))
    {
        return false;
    }
    frame.store(packet.transport, &new)
}

/// Changes the ports of SCTP, and its CRC. That is zero where the device computes it when it sends (`sctp_packet_pack`,
/// <https://elixir.bootlin.com/linux/v6.12/source/net/sctp/output.c#L507>). The CRC of a fragment covers the others, whose length
/// is not known.
#[inline(always)]
fn association_ports<F: Family>(frame: impl Frame, packet: &Packet<F>, old: u32, new: u32) -> bool {
    let at = packet.transport + CRC;
    let Some(was) = frame.load::<u32>(at) else {
        return false;
    };
    if was != 0 {
        let headers = packet.transport - packet.link;
        let after = packet.length.wrapping_sub(headers + PORTS);
        let is = was ^ crc32c::difference(old ^ new, after);
        if packet.shape != WHOLE || !frame.store_unbalanced(at, &is) {
            return false;
        }
    }
    frame.store_unbalanced(packet.transport, &new)
}

/// Turns the tuple of a whole packet of SCTP into `target`.
#[inline(always)]
pub fn rewrite_association<F: Family>(
    frame: impl Frame,
    packet: &mut Packet<F>,
    target: &Target<F>,
) -> bool {
    let done = apart(frame, packet, target);
    // SAFETY: two values made of words.
    unsafe { copy(&raw const *target, &raw mut packet.tuple) };
    done
}

/// Offset of SCTP's CRC.
pub const CRC: u32 = 8;
/// Length of the ports, with which SCTP begins.
const PORTS: u32 = 4;

#[inline(always)]
const fn ports_of<A: Copy>(tuple: &proxy_common::conntrack::Tuple<A>) -> [u16; 2] {
    [tuple.source_port, tuple.destination_port]
}

/// Turns the tuple of a plain packet into `target`.
#[inline(always)]
pub fn rewrite_plain<F: Family>(
    frame: impl Frame,
    packet: &mut Packet<F>,
    target: &Target<F>,
) -> bool {
    let Some(sum) = plain_checksum(packet) else {
        return false;
    };
    let change = changes(
        [&packet.source, &packet.destination],
        [&target.source, &target.destination],
    );
    let moved =
        !same(&packet.source, &target.source) || !same(&packet.destination, &target.destination);
    let ports = [ports_of(&packet.tuple), ports_of(target)].map(word);
    let balance = if !moved {
        ports_only(frame, sum, ports)
    } else if ports[0] == ports[1] {
        frame.address_checksum(sum, change)
    } else {
        frame.tuple_checksum(sum, change, ports)
    };
    // SAFETY: values made of words.
    unsafe {
        copy(&raw const target.source, &raw mut packet.source);
        copy(&raw const target.destination, &raw mut packet.destination);
        copy(&raw const *target, &raw mut packet.tuple);
    }
    let at = packet.link + at_addresses::<F>();
    match balance {
        Balance::Failed => false,
        Balance::Unbalanced => {
            frame.store_unbalanced(at, &[target.source, target.destination])
                && frame.store(packet.transport, &ports[1])
        }
        // Addresses and ports follow each other, as they do in a tuple.
        Balance::Balanced => {
            (F::IPV6 || header(frame, packet.link + HEADER_CHECKSUM, change))
                && frame.put(at, target)
        }
    }
}

#[inline(always)]
fn ports_only(frame: impl Frame, sum: Checksum, [was, is]: [u32; 2]) -> Balance {
    if was == is || frame.word_checksum(sum, was, is) {
        Balance::Balanced
    } else {
        Balance::Failed
    }
}

/// Takes a change into the checksum of a plain IPv4 header.
#[inline(always)]
fn header(frame: impl Frame, at: u32, change: u32) -> bool {
    let Some(old) = frame.read::<u16>(at) else {
        return false;
    };
    let new = fold(u32::from(!old) + (change & 0xffff) + (change >> 16));
    frame.put(at, &new)
}

/// [`difference`] of pairs of addresses, without a helper.
#[inline(always)]
fn changes<A: Copy>(old: [&A; 2], new: [&A; 2]) -> u32 {
    let sum = change(old[0], new[0]) + change(old[1], new[1]);
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}

#[inline(always)]
fn change<A: Copy>(old: &A, new: &A) -> u64 {
    let (old, new): (*const u32, *const u32) = ((&raw const *old).cast(), (&raw const *new).cast());
    let mut sum = 0;
    let mut word = 0;
    while word < size_of::<A>() / 4 {
        // SAFETY: below the size of both, which are made of such words.
        let (old, new) = unsafe { (read_volatile(old.add(word)), read_volatile(new.add(word))) };
        sum += u64::from(!old) + u64::from(new);
        word += 1;
    }
    sum
}

#[inline(always)]
const fn word(ports: [u16; 2]) -> u32 {
    let [a, b] = [ports[0].to_ne_bytes(), ports[1].to_ne_bytes()];
    u32::from_ne_bytes([a[0], a[1], b[0], b[1]])
}

/// Rewrites the outer addresses, and takes them into the checksums that hold them.
#[inline(always)]
fn outer<F: Family>(
    frame: impl Frame,
    packet: &mut Packet<F>,
    new: [F::Address; 2],
    transport: Option<Checksum>,
) -> bool {
    let old = [packet.source, packet.destination];
    if same(&old, &new) {
        return true;
    }
    let change = difference(&old, &new);
    if !F::IPV6 && !frame.header_checksum(packet.link + HEADER_CHECKSUM, change) {
        return false;
    }
    // IPv4 has a checksum of its own that makes up for the addresses.
    let mut balance = if F::IPV6 {
        Balance::Unbalanced
    } else {
        Balance::Balanced
    };
    if let Some(sum) = transport {
        balance = frame.address_checksum(sum, change);
    }
    packet.source = new[0];
    packet.destination = new[1];
    let at = packet.link + at_addresses::<F>();
    match balance {
        Balance::Failed => false,
        Balance::Balanced => frame.store(at, &new),
        Balance::Unbalanced => frame.store_unbalanced(at, &new),
    }
}

/// Changes the identifier of the echo at `echo`, and the checksum of the ICMP message at `message` that is it or quotes it.
#[inline(always)]
fn identifier<F: Family>(frame: impl Frame, message: u32, echo: u32, [old, new]: [u16; 2]) -> bool {
    let sum = Checksum {
        at: message + 2,
        may_be_absent: false,
        ipv6: F::IPV6,
    };
    frame.word_checksum(sum, word([old, 0]), word([new, 0])) && frame.store(echo + 4, &new)
}

/// An ICMP error: the quoted packet travels the other way. Its own transport checksum is left as it is:
/// receivers find the flow by addresses and ports, and mostly it is not even quoted.
#[inline(always)]
fn error<F: Family>(frame: impl Frame, packet: &mut Packet<F>, target: &Target<F>) -> bool {
    let icmp = Checksum {
        at: packet.transport + 2,
        may_be_absent: false,
        ipv6: F::IPV6,
    };
    let old = [packet.tuple.destination, packet.tuple.source];
    let new = [target.destination, target.source];
    let change = difference(&old, &new);
    // IPv4: the quoted header's checksum takes the change up, so ICMP's own sum stays.
    let summed = if F::IPV6 {
        frame.sum_checksum(icmp, change)
    } else {
        frame.header_checksum(packet.quoted + HEADER_CHECKSUM, change)
    };
    if !summed || !frame.store(packet.quoted + at_addresses::<F>(), &new) {
        return false;
    }
    let ports = [packet.tuple.destination_port, packet.tuple.source_port];
    let new_ports = [target.destination_port, target.source_port];
    if ports != new_ports && packet.protocol == F::ICMP {
        let (at, quoted) = (packet.transport, packet.quoted_transport);
        if !identifier::<F>(frame, at, quoted, [ports[0], new_ports[0]]) {
            return false;
        }
    } else if ports != new_ports {
        let (old, new) = (word(ports), word(new_ports));
        if !frame.word_checksum(icmp, old, new) || !frame.store(packet.quoted_transport, &new_ports)
        {
            return false;
        }
    }
    // A router on the way keeps its own address; the flow's ends take their new ones.
    let source = if same(&packet.source, &packet.tuple.source) {
        target.source
    } else {
        packet.source
    };
    let destination = if same(&packet.destination, &packet.tuple.destination) {
        target.destination
    } else {
        packet.destination
    };
    let sum = if F::IPV6 { Some(icmp) } else { None };
    outer::<F>(frame, packet, [source, destination], sum)
}

use crate::machine::verdict::{Verdict, dropped};
