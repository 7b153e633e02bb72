//! IPv4 (RFC 791).

use proxy_common::counters::INVALID_PACKET;

use super::{Piece, fragment, quoted, transport};
use crate::machine::frame::Frame;
use crate::machine::verdict::{CONTINUE, Verdict, dropped};
use crate::maps::{Family as _, V4};
use crate::packet::description::{ERROR, Packet};

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

/// Destination unreachable, source quench, time exceeded, parameter problem.
#[inline(always)]
const fn is_error(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 11 | 12)
}

/// Length of a header, if it is one.
#[inline(always)]
fn header_length(header: &Header) -> Option<u32> {
    let length = u32::from(header.version & 0xf) * 4;
    (header.version >> 4 == 4 && length >= size_of::<Header>() as u32).then_some(length)
}

/// Reads an IPv4 packet.
#[inline(always)]
pub(super) fn headers(frame: impl Frame, packet: &mut Packet<V4>, scope: u32) -> Verdict {
    let Some(header) = frame.read::<Header>(packet.link) else {
        return dropped(INVALID_PACKET);
    };
    let Some(own) = header_length(&header) else {
        return dropped(INVALID_PACKET);
    };
    let there = frame.length().wrapping_sub(packet.link);
    let total = u32::from(u16::from_be(header.length));
    // Length 0 is a packet larger than 64 KiB, on its way through the host (BIG TCP).
    if total != 0 && (total < own || total > there) {
        return dropped(INVALID_PACKET);
    }
    packet.length = if total == 0 { there } else { total };
    packet.source = header.source;
    packet.destination = header.destination;
    packet.tuple.source = header.source;
    packet.tuple.destination = header.destination;
    packet.carrier = header.protocol;
    packet.protocol = header.protocol;
    packet.hops = header.hops;
    packet.transport = packet.link + own;
    let place = u16::from_be(header.fragment);
    let verdict = if place & (OFFSET | MORE) == 0 {
        transport(frame, packet, is_error)
    } else {
        let piece = Piece {
            identification: u32::from(header.identification),
            scope,
            later: place & OFFSET != 0,
        };
        fragment(frame, packet, piece, is_error)
    };
    if verdict == CONTINUE && packet.shape == ERROR {
        return quote(frame, packet);
    }
    verdict
}

/// The packet that an ICMP error quotes.
#[inline(always)]
fn quote(frame: impl Frame, packet: &mut Packet<V4>) -> Verdict {
    packet.quoted = packet.transport + 8;
    let Some(header) = frame.load::<Header>(packet.quoted) else {
        return dropped(INVALID_PACKET);
    };
    let Some(length) = header_length(&header) else {
        return dropped(INVALID_PACKET);
    };
    packet.tuple.source = header.destination;
    packet.tuple.destination = header.source;
    packet.protocol = header.protocol;
    if u16::from_be(header.fragment) & OFFSET != 0 {
        // No ports to find a flow by.
        packet.protocol = V4::ICMP;
        return CONTINUE;
    }
    quoted(frame, packet, packet.quoted + length)
}
