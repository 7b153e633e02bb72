//! ICMP for IPv6 "port unreachable" (RFC 4443).

use proxy_common::address::ICMPV6;

use super::v4::make_room;
use crate::maps::Family;
use crate::tc::packet::Packet;
use crate::tc::parse::Icmp;
use crate::tc::parse::v6::Header;
use crate::tc::skb::{ETHERNET, Skb, fold, sum};

/// The IP header and eight bytes.
type Quote = [u32; 12];

#[derive(Clone, Copy)]
#[repr(C)]
struct Message {
    icmp: Icmp,
    quote: Quote,
}

/// What the checksum holds besides the message.
#[derive(Clone, Copy)]
#[repr(C)]
struct Pseudo {
    source: [u32; 4],
    destination: [u32; 4],
    length: u32,
    next: u32,
}

const ADDED: u32 = (size_of::<Header>() + size_of::<Icmp>()) as u32;

/// Turns an IPv6 packet without extension headers into the error about it.
#[inline(always)]
pub(super) fn unreachable<F: Family>(skb: Skb, packet: &Packet<F>) -> bool {
    if packet.transport != ETHERNET + size_of::<Header>() as u32 {
        return false;
    }
    let Some(quote) = skb.load::<Quote>(ETHERNET) else {
        return false;
    };
    let Some(old) = skb.load::<Header>(ETHERNET) else {
        return false;
    };
    let length = size_of::<Message>() as u16;
    let header = Header {
        version: [0x60, 0, 0, 0],
        length: length.to_be(),
        next: ICMPV6,
        hops: 64,
        source: old.destination,
        destination: old.source,
    };
    let pseudo = Pseudo {
        source: header.source,
        destination: header.destination,
        length: u32::from(length).to_be(),
        next: u32::from(ICMPV6).to_be(),
    };
    let mut message = Message {
        icmp: Icmp {
            kind: 1,
            code: 4,
            checksum: 0,
            identifier: 0,
            sequence: 0,
        },
        quote,
    };
    message.icmp.checksum = fold(sum(&message, sum(&pseudo, 0)));
    make_room(skb, ETHERNET + size_of::<Quote>() as u32, ADDED)
        && skb.store(ETHERNET, &header)
        && skb.store(ETHERNET + size_of::<Header>() as u32, &message)
}
