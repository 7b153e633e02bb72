//! IPv6 (RFC 8200) with its extension headers.

use proxy_common::counters::{EXTENSION_HEADERS, INVALID_PACKET};

use super::{Piece, UNUSUAL, any_transport, fragment, quoted};
use crate::machine::frame::Frame;
use crate::machine::verdict::{CONTINUE, Verdict, dropped};
use crate::machine::words::copy;
use crate::maps::{Family as _, V6};
use crate::packet::description::{ERROR, Packet};

/// The fixed header up to the addresses.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Start {
    /// Version, traffic class, flow label.
    pub version: [u8; 4],
    /// Length of what follows.
    pub length: u16,
    /// Next header.
    pub next: u8,
    /// Hop limit.
    pub hops: u8,
}

/// The fixed header.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Header {
    /// What comes before the addresses.
    pub start: Start,
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

/// Destination unreachable, packet too big, time exceeded, parameter problem.
#[inline(always)]
const fn is_error(kind: u8) -> bool {
    matches!(kind, 1..=4)
}

#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION
    )
}

/// Reads the fixed header of an IPv6 packet. `UNUSUAL`: extension headers follow.
#[inline(always)]
pub(super) fn header(frame: impl Frame, packet: &mut Packet<V6>) -> Verdict {
    let Some(header) = frame.read::<Start>(packet.link) else {
        return dropped(INVALID_PACKET);
    };
    let there = frame.length().wrapping_sub(packet.link);
    let length = u32::from(u16::from_be(header.length));
    if header.version[0] >> 4 != 6 || length + V6::HEADER > there {
        return dropped(INVALID_PACKET);
    }
    // Length 0 may be that of a packet larger than 64 KiB (RFC 2675, BIG TCP).
    packet.length = if length == 0 && there > u32::from(u16::MAX) {
        there
    } else {
        length + V6::HEADER
    };
    packet.carrier = header.next;
    packet.protocol = header.next;
    packet.hops = header.hops;
    packet.transport = packet.link + V6::HEADER;
    let at = packet.link + size_of::<Start>() as u32;
    if !frame.read_to(at, &mut packet.source) || !frame.read_to(at + 16, &mut packet.destination) {
        return dropped(INVALID_PACKET);
    }
    // SAFETY: values made of words.
    unsafe {
        copy(&raw const packet.source, &raw mut packet.tuple.source);
        copy(
            &raw const packet.destination,
            &raw mut packet.tuple.destination,
        );
    }
    if is_extension(header.next) {
        UNUSUAL
    } else {
        CONTINUE
    }
}

/// What follows the fixed header of an unusual packet.
#[inline(always)]
pub(super) fn rest(frame: impl Frame, packet: &mut Packet<V6>) -> Verdict {
    let verdict = if is_extension(packet.carrier) {
        extensions(frame, packet)
    } else {
        any_transport(frame, packet, is_error)
    };
    if verdict == CONTINUE && packet.shape == ERROR {
        return quote(frame, packet);
    }
    verdict
}

/// Where extension headers lead.
#[derive(Clone, Copy)]
struct Walk {
    /// Offset of what follows them.
    at: u32,
    /// What that is.
    next: u8,
    /// The datagram is fragmented.
    fragmented: bool,
    /// This is not its first fragment: what follows is no header.
    later: bool,
    identification: u32,
}

/// Walks past extension headers, of which the first is at `at`. None: they cannot be read.
#[inline(always)]
fn walk(frame: impl Frame, at: u32, next: u8) -> Option<Walk> {
    let mut walk = Walk {
        at,
        next,
        fragmented: false,
        later: false,
        identification: 0,
    };
    for _ in 0..LIMIT {
        if !is_extension(walk.next) || walk.later {
            break;
        }
        let extension = frame.load::<Extension>(walk.at)?;
        walk.at += match walk.next {
            FRAGMENT => {
                let place = u16::from_be(extension.offset);
                // A lone fragment that is the whole datagram (RFC 6946) is one all the same.
                walk.fragmented = place & !7 != 0 || place & 1 != 0;
                walk.later = place & !7 != 0;
                walk.identification = extension.identification;
                8
            }
            AUTHENTICATION => (u32::from(extension.length) + 2) * 4,
            _ => (u32::from(extension.length) + 1) * 8,
        };
        walk.next = extension.next;
    }
    Some(walk)
}

/// Walks to the transport header.
#[inline(always)]
fn extensions(frame: impl Frame, packet: &mut Packet<V6>) -> Verdict {
    let Some(walk) = walk(frame, packet.transport, packet.carrier) else {
        return dropped(INVALID_PACKET);
    };
    if is_extension(walk.next) && !walk.later {
        return dropped(EXTENSION_HEADERS);
    }
    packet.carrier = walk.next;
    packet.protocol = walk.next;
    packet.transport = walk.at;
    if walk.fragmented {
        let piece = Piece {
            identification: walk.identification,
            later: walk.later,
        };
        fragment(frame, packet, piece, is_error)
    } else {
        any_transport(frame, packet, is_error)
    }
}

/// The packet that an ICMP error quotes.
#[inline(always)]
fn quote(frame: impl Frame, packet: &mut Packet<V6>) -> Verdict {
    packet.quoted = packet.transport + 8;
    let Some(header) = frame.load::<Header>(packet.quoted) else {
        return dropped(INVALID_PACKET);
    };
    packet.tuple.source = header.destination;
    packet.tuple.destination = header.source;
    packet.protocol = header.start.next;
    let at = packet.quoted + V6::HEADER;
    if !is_extension(packet.protocol) {
        return quoted(frame, packet, at);
    }
    // The node's own stack has put a header of fragments there, or a router on the way quotes one of a pod's.
    match walk(frame, at, packet.protocol) {
        Some(walk) if !walk.later && !is_extension(walk.next) => {
            packet.protocol = walk.next;
            quoted(frame, packet, walk.at)
        }
        // No ports to find a flow by.
        _ => {
            packet.protocol = V6::ICMP;
            CONTINUE
        }
    }
}
