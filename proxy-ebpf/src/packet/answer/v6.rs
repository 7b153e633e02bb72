//! ICMP errors for IPv6 (RFC 4443).

use proxy_common::address::ICMPV6;

use super::v4::make_room;
use super::{NO_HOPS, NO_ROUTE, TOO_BIG, transport};
use crate::machine::checksum::{fold, sum};
use crate::machine::frame::Frame as _;
use crate::machine::skb::Skb;
use crate::maps::{Family as _, V6};
use crate::packet::description::Packet;
use crate::packet::parse::Icmp;
use crate::packet::parse::v6::{Header, Start};

/// Extension headers that are quoted, in units of eight bytes.
const EXTENSIONS: u32 = 8;

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

/// Turns an IPv6 packet into the error about it, unless its extension headers are longer than anybody's.
#[inline(never)]
pub(super) fn unreachable(
    skb: Skb,
    packet: &Packet<V6>,
    speaker: [u32; 4],
    kind: u32,
    mtu: u32,
) -> bool {
    let link = packet.link;
    let Some((more, mut quoted)) = transport(skb, packet) else {
        return false;
    };
    let Some(fixed) = skb.load::<[u32; V6::HEADER as usize / 4]>(link) else {
        return false;
    };
    quoted = sum(&fixed, quoted);
    let mut at = link + V6::HEADER;
    for _ in 0..EXTENSIONS {
        if at == packet.transport {
            break;
        }
        let Some(part) = skb.load::<[u32; 2]>(at) else {
            return false;
        };
        quoted = sum(&part, quoted);
        at += 8;
    }
    if at != packet.transport {
        return false;
    }
    let kept = at - link + more;
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
