//! ICMP errors (RFC 792, RFC 1191).

use aya_ebpf::helpers::{bpf_skb_adjust_room, bpf_skb_change_tail};
use proxy_common::address::ICMP;

use super::{NO_HOPS, NO_ROUTE, TOO_BIG, transport};
use crate::machine::checksum::{fold, sum};
use crate::machine::frame::Frame as _;
use crate::machine::skb::Skb;
use crate::maps::Family;
use crate::packet::description::Packet;
use crate::packet::parse::Icmp;
use crate::packet::parse::v4::{Header, Start};

/// What stands before the packet that is quoted, which stays where it is.
#[derive(Clone, Copy)]
#[repr(C)]
struct Front {
    header: Header,
    icmp: Icmp,
}

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

/// Turns an IPv4 packet into the error about it.
#[inline(never)]
pub(super) fn unreachable<F: Family>(
    skb: Skb,
    packet: &Packet<F>,
    speaker: u32,
    kind: u32,
    mtu: u32,
) -> bool {
    let link = packet.link;
    // The quoted header, options included, adds nothing: its own checksum makes its sum zero.
    let Some((more, quoted)) = transport(skb, packet) else {
        return false;
    };
    let kept = packet.transport - link + more;
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
