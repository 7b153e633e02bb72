//! IPv6 (RFC 8200) with its extension headers.

use proxy_common::counters::{EXTENSION_HEADERS, INVALID_PACKET};

use super::{IcmpTypes, fragment, quoted, transport};
use crate::maps::V6;
use crate::tc::packet::{ERROR, Packet};
use crate::tc::skb::{ETHERNET, Skb};
use crate::tc::verdict::{CONTINUE, Verdict, dropped};

/// The fixed header.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Header {
    /// Version, traffic class, flow label.
    pub version: [u8; 4],
    /// Length of what follows.
    pub length: u16,
    /// Next header.
    pub next: u8,
    /// Hop limit.
    pub hops: u8,
    /// Source.
    pub source: [u32; 4],
    /// Destination.
    pub destination: [u32; 4],
}

/// The start of an extension header; for a fragment header, all of it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Extension {
    next: u8,
    length: u8,
    offset: u16,
    identification: u32,
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
/// Extension headers that are followed.
const LIMIT: u32 = 8;

impl IcmpTypes for V6 {
    #[inline(always)]
    fn parse(skb: Skb, packet: &mut Packet<Self>) -> Verdict {
        parse(skb, packet)
    }

    const ECHO_REQUEST: u8 = 128;
    const ECHO_REPLY: u8 = 129;
    const PLAIN_TRANSPORT: usize = ETHERNET as usize + size_of::<Header>();

    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        matches!(kind, 1..=4)
    }
}

#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION
    )
}

/// Reads an IPv6 packet.
#[inline(always)]
fn parse(skb: Skb, packet: &mut Packet<V6>) -> Verdict {
    let Some(header) = skb.read::<Header>(ETHERNET as usize) else {
        return dropped(INVALID_PACKET);
    };
    let length = u32::from(u16::from_be(header.length));
    if header.version[0] >> 4 != 6 || length + V6::PLAIN_TRANSPORT as u32 > skb.length() {
        return dropped(INVALID_PACKET);
    }
    packet.source = header.source;
    packet.destination = header.destination;
    packet.flow.from = header.source;
    packet.flow.to = header.destination;
    packet.carrier = header.next;
    packet.protocol = header.next;
    packet.hops = header.hops;
    packet.transport = V6::PLAIN_TRANSPORT as u32;
    let verdict = if is_extension(header.next) {
        extensions(skb, packet)
    } else {
        transport(skb, packet)
    };
    if verdict == CONTINUE && packet.shape == ERROR {
        return quote(skb, packet);
    }
    verdict
}

/// Walks to the transport header.
#[inline(always)]
fn extensions(skb: Skb, packet: &mut Packet<V6>) -> Verdict {
    let mut at = packet.transport;
    let mut next = packet.carrier;
    let mut fragmented = false;
    let mut later = false;
    let mut identification = 0;
    for _ in 0..LIMIT {
        if !is_extension(next) || later {
            break;
        }
        let Some(extension) = skb.load::<Extension>(at) else {
            return dropped(INVALID_PACKET);
        };
        at += match next {
            FRAGMENT => {
                let place = u16::from_be(extension.offset);
                // A lone fragment that is the whole datagram (RFC 6946) is one all the same.
                fragmented = place & !7 != 0 || place & 1 != 0;
                later = place & !7 != 0;
                identification = extension.identification;
                8
            }
            AUTHENTICATION => (u32::from(extension.length) + 2) * 4,
            _ => (u32::from(extension.length) + 1) * 8,
        };
        next = extension.next;
    }
    if is_extension(next) && !later {
        return dropped(EXTENSION_HEADERS);
    }
    packet.carrier = next;
    packet.protocol = next;
    packet.transport = at;
    if fragmented {
        fragment(skb, packet, later, identification)
    } else {
        transport(skb, packet)
    }
}

/// The packet that an ICMP error quotes.
#[inline(always)]
fn quote(skb: Skb, packet: &mut Packet<V6>) -> Verdict {
    packet.quoted = packet.transport + 8;
    let Some(header) = skb.load::<Header>(packet.quoted) else {
        return dropped(INVALID_PACKET);
    };
    packet.flow.from = header.destination;
    packet.flow.to = header.source;
    packet.protocol = header.next;
    quoted(skb, packet, packet.quoted + size_of::<Header>() as u32)
}
