//! IPv4 (RFC 791).

use proxy_common::counters::INVALID_PACKET;

use super::{IcmpTypes, fragment, quoted, transport};
use crate::maps::{Family as _, V4};
use crate::tc::packet::{ERROR, Packet};
use crate::tc::skb::{ETHERNET, Skb};
use crate::tc::verdict::{CONTINUE, Verdict, dropped};

/// The header without options.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Header {
    /// Version and length in words.
    pub version: u8,
    /// Type of service.
    pub service: u8,
    /// Length of the packet.
    pub length: u16,
    /// Identification.
    pub identification: u16,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// Time to live.
    pub hops: u8,
    /// Protocol.
    pub protocol: u8,
    /// Checksum.
    pub checksum: u16,
    /// Source.
    pub source: u32,
    /// Destination.
    pub destination: u32,
}

const OFFSET: u16 = 0x1fff;
const MORE: u16 = 0x2000;

impl IcmpTypes for V4 {
    #[inline(always)]
    fn parse(skb: Skb, packet: &mut Packet<Self>) -> Verdict {
        parse(skb, packet)
    }

    const ECHO_REQUEST: u8 = 8;
    const ECHO_REPLY: u8 = 0;
    const PLAIN_TRANSPORT: usize = ETHERNET as usize + size_of::<Header>();

    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        matches!(kind, 3 | 4 | 11 | 12)
    }
}

/// Length of a header, if it is one.
#[inline(always)]
fn header_length(header: &Header) -> Option<u32> {
    let length = u32::from(header.version & 0xf) * 4;
    (header.version >> 4 == 4 && length >= size_of::<Header>() as u32).then_some(length)
}

/// Reads an IPv4 packet.
#[inline(always)]
fn parse(skb: Skb, packet: &mut Packet<V4>) -> Verdict {
    let Some(header) = skb.read::<Header>(ETHERNET as usize) else {
        return dropped(INVALID_PACKET);
    };
    let Some(length) = header_length(&header) else {
        return dropped(INVALID_PACKET);
    };
    let total = u32::from(u16::from_be(header.length));
    // Length 0 is a packet larger than 64 KiB, on its way through the host (BIG TCP).
    if total != 0 && (total < length || total + ETHERNET > skb.length()) {
        return dropped(INVALID_PACKET);
    }
    packet.source = header.source;
    packet.destination = header.destination;
    packet.flow.from = header.source;
    packet.flow.to = header.destination;
    packet.carrier = header.protocol;
    packet.protocol = header.protocol;
    packet.hops = header.hops;
    packet.transport = ETHERNET + length;
    let place = u16::from_be(header.fragment);
    let verdict = if place & (OFFSET | MORE) == 0 {
        transport(skb, packet)
    } else {
        let later = place & OFFSET != 0;
        fragment(skb, packet, later, u32::from(header.identification))
    };
    if verdict == CONTINUE && packet.shape == ERROR {
        return quote(skb, packet);
    }
    verdict
}

/// The packet that an ICMP error quotes.
#[inline(always)]
fn quote(skb: Skb, packet: &mut Packet<V4>) -> Verdict {
    packet.quoted = packet.transport + 8;
    let Some(header) = skb.load::<Header>(packet.quoted) else {
        return dropped(INVALID_PACKET);
    };
    let Some(length) = header_length(&header) else {
        return dropped(INVALID_PACKET);
    };
    packet.flow.from = header.destination;
    packet.flow.to = header.source;
    packet.protocol = header.protocol;
    if u16::from_be(header.fragment) & OFFSET != 0 {
        // No ports to find a flow by.
        packet.protocol = V4::ICMP;
        return CONTINUE;
    }
    quoted(skb, packet, packet.quoted + length)
}
