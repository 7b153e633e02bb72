//! IPv4 (RFC 791).

use proxy_common::counters::INVALID_PACKET;

use super::{Piece, UNUSUAL, any_transport, fragment, quoted};
use crate::machine::frame::Frame;
use crate::machine::verdict::{CONTINUE, Verdict, dropped};
use crate::maps::{Family as _, V4};
use crate::packet::description::{ERROR, Packet};

/// The header up to the addresses.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Start {
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
}

/// The header without options.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Header {
    /// What comes before the addresses.
    pub start: Start,
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
fn header_length(start: &Start) -> Option<u32> {
    let length = u32::from(start.version & 0xf) * 4;
    (start.version >> 4 == 4 && length >= size_of::<Header>() as u32).then_some(length)
}

/// Reads the header of an IPv4 packet. `UNUSUAL`: it is a fragment.
#[inline(always)]
pub(super) fn header(frame: impl Frame, packet: &mut Packet<V4>) -> Verdict {
    let Some(header) = frame.read::<Start>(packet.link) else {
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
    let at = packet.link + size_of::<Start>() as u32;
    if !frame.read_to(at, &mut packet.source) || !frame.read_to(at + 4, &mut packet.destination) {
        return dropped(INVALID_PACKET);
    }
    packet.tuple.source = packet.source;
    packet.tuple.destination = packet.destination;
    packet.carrier = header.protocol;
    packet.protocol = header.protocol;
    packet.hops = header.hops;
    packet.transport = packet.link + own;
    if u16::from_be(header.fragment) & (OFFSET | MORE) == 0 {
        CONTINUE
    } else {
        UNUSUAL
    }
}

/// What follows the header of an unusual packet.
#[inline(always)]
pub(super) fn rest(frame: impl Frame, packet: &mut Packet<V4>) -> Verdict {
    let Some(header) = frame.load::<Start>(packet.link) else {
        return dropped(INVALID_PACKET);
    };
    let place = u16::from_be(header.fragment);
    let verdict = if place & (OFFSET | MORE) == 0 {
        any_transport(frame, packet, is_error)
    } else {
        let piece = Piece {
            identification: u32::from(header.identification),
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
    let Some(length) = header_length(&header.start) else {
        return dropped(INVALID_PACKET);
    };
    packet.tuple.source = header.destination;
    packet.tuple.destination = header.source;
    packet.protocol = header.start.protocol;
    if u16::from_be(header.start.fragment) & OFFSET != 0 {
        // No ports to find a flow by.
        packet.protocol = V4::ICMP;
        return CONTINUE;
    }
    quoted(frame, packet, packet.quoted + length)
}
