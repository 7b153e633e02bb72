//! ICMP errors (RFC 792, RFC 1191).

use aya_ebpf::helpers::{bpf_skb_adjust_room, bpf_skb_change_tail};
use proxy_common::address::{ICMP, TCP};

use super::{NO_HOPS, NO_ROUTE, TOO_BIG};
use crate::machine::checksum::{fold, sum};
use crate::machine::frame::Frame as _;
use crate::machine::skb::Skb;
use crate::maps::Family;
use crate::packet::description::Packet;
use crate::packet::parse::Icmp;
use crate::packet::parse::v4::{Header, Start};

/// The IP header and eight bytes.
type Quote = [u32; 7];

/// The rest of a TCP header, which is quoted too: the kernel cuts no packet within what a device is to compute a checksum of
/// (<https://elixir.bootlin.com/linux/v6.12/source/net/core/filter.c#L3750>).
pub(super) type RestOfTcp = [u32; 3];

/// What stands before the packet that is quoted, which stays where it is.
#[derive(Clone, Copy)]
#[repr(C)]
struct Front {
    header: Header,
    icmp: Icmp,
}

const HEADER: u32 = size_of::<Header>() as u32;
const ADDED: u32 = size_of::<Front>() as u32;
const ROOM_MAC: u32 = 1;

/// Type, code, and the second half of the word behind the checksum.
#[inline(always)]
const fn kind_of(kind: u32, mtu: u32) -> (u8, u8, u16) {
    match kind {
        NO_ROUTE => (3, 0, 0),
        NO_HOPS => (11, 0, 0),
        TOO_BIG => (3, 4, (mtu as u16).to_be()),
        _ => (3, 3, 0),
    }
}

/// Turns an IPv4 packet without options into the error about it.
#[inline(never)]
pub(super) fn unreachable<F: Family>(
    skb: Skb,
    packet: &Packet<F>,
    speaker: u32,
    kind: u32,
    mtu: u32,
) -> bool {
    let link = packet.link;
    if packet.transport != link + HEADER {
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
    let length = ADDED as u16 + kept as u16;
    let mut front = Front {
        header: Header {
            start: Start {
                version: 0x45,
                service: 0xc0,
                length: length.to_be(),
                identification: 0,
                fragment: 0,
                hops: 64,
                protocol: ICMP,
                checksum: 0,
            },
            source: speaker,
            destination: F::as_ipv6(packet.source)[3],
        },
        icmp: Icmp {
            kind,
            code,
            checksum: 0,
            identifier: 0,
            sequence,
        },
    };
    front.header.start.checksum = fold(sum(&front.header, 0));
    front.icmp.checksum = fold(sum(&front.icmp, quoted));
    make_room(skb, link + kept, ADDED) && skb.store(link, &front)
}

/// Cuts the packet off at `kept` bytes and makes room for `added` before its network header.
#[inline(always)]
pub(super) fn make_room(skb: Skb, kept: u32, added: u32) -> bool {
    // SAFETY: a helper on the context.
    let cut = unsafe { bpf_skb_change_tail(skb.raw(), kept, 0) };
    if cut != 0 {
        return false;
    }
    // SAFETY: a helper on the context.
    unsafe { bpf_skb_adjust_room(skb.raw(), added.cast_signed(), ROOM_MAC, 0) == 0 }
}
