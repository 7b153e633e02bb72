//! ICMP errors for IPv6 (RFC 4443).

use proxy_common::address::{ICMPV6, TCP};

use super::v4::{RestOfTcp, make_room};
use super::{NO_HOPS, NO_ROUTE, TOO_BIG};
use crate::machine::checksum::{fold, sum};
use crate::machine::frame::Frame as _;
use crate::machine::skb::Skb;
use crate::maps::V6;
use crate::packet::description::Packet;
use crate::packet::parse::Icmp;
use crate::packet::parse::v6::{Header, Start};

/// The IP header and eight bytes.
type Quote = [u32; 12];

/// What stands before the packet that is quoted, which stays where it is.
#[derive(Clone, Copy)]
#[repr(C)]
struct Front {
    header: Header,
    icmp: Icmp,
}

/// What the checksum holds besides addresses and message.
#[derive(Clone, Copy)]
#[repr(C)]
struct Pseudo {
    length: u32,
    next: u32,
}

const ADDED: u32 = size_of::<Front>() as u32;

/// Type, code, and the second half of the word behind the checksum.
#[inline(always)]
const fn kind_of(kind: u32, mtu: u32) -> (u8, u8, u16) {
    match kind {
        NO_ROUTE => (1, 0, 0),
        NO_HOPS => (3, 0, 0),
        TOO_BIG => (2, 0, (mtu as u16).to_be()),
        _ => (1, 4, 0),
    }
}

/// Turns an IPv6 packet without extension headers into the error about it.
#[inline(never)]
pub(super) fn unreachable(
    skb: Skb,
    packet: &Packet<V6>,
    speaker: [u32; 4],
    kind: u32,
    mtu: u32,
) -> bool {
    let link = packet.link;
    if !packet.is_plain() {
        return false;
    }
    // Its bytes are read for their sum only, and the stack that they need is free again.
    let Some(mut quoted) = skb.load::<Quote>(link).map(|quote| sum(&quote, 0)) else {
        return false;
    };
    let mut kept = size_of::<Quote>() as u32;
    if packet.protocol == TCP {
        let Some(more) = skb.load::<RestOfTcp>(link + kept) else {
            return false;
        };
        quoted = sum(&more, quoted);
        kept += size_of::<RestOfTcp>() as u32;
    }
    let (kind, code, sequence) = kind_of(kind, mtu);
    let length = size_of::<Icmp>() as u16 + kept as u16;
    let mut front = Front {
        header: Header {
            start: Start {
                version: [0x60, 0, 0, 0],
                length: length.to_be(),
                next: ICMPV6,
                hops: 64,
            },
            source: speaker,
            destination: packet.source,
        },
        icmp: Icmp {
            kind,
            code,
            checksum: 0,
            identifier: 0,
            sequence,
        },
    };
    let pseudo = Pseudo {
        length: u32::from(length).to_be(),
        next: u32::from(ICMPV6).to_be(),
    };
    let ends = sum(&front.header.source, sum(&front.header.destination, quoted));
    front.icmp.checksum = fold(sum(&front.icmp, sum(&pseudo, ends)));
    make_room(skb, link + kept, ADDED) && skb.store(link, &front)
}
