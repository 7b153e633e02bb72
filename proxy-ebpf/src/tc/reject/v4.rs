//! ICMP "port unreachable" (RFC 792).

use aya_ebpf::helpers::{bpf_skb_adjust_room, bpf_skb_change_tail};
use proxy_common::address::ICMP;

use crate::maps::Family;
use crate::tc::packet::Packet;
use crate::tc::parse::Icmp;
use crate::tc::parse::v4::Header;
use crate::tc::skb::{ETHERNET, Skb, fold, sum};

/// The IP header and eight bytes.
type Quote = [u32; 7];

#[derive(Clone, Copy)]
#[repr(C)]
struct Message {
    icmp: Icmp,
    quote: Quote,
}

const ADDED: u32 = (size_of::<Header>() + size_of::<Icmp>()) as u32;
const ROOM_MAC: u32 = 1;

/// Turns an IPv4 packet without options into the error about it.
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
    let mut message = Message {
        icmp: Icmp {
            kind: 3,
            code: 3,
            checksum: 0,
            identifier: 0,
            sequence: 0,
        },
        quote,
    };
    message.icmp.checksum = fold(sum(&message, 0));
    let mut header = Header {
        version: 0x45,
        service: 0xc0,
        length: (size_of::<Header>() as u16 + size_of::<Message>() as u16).to_be(),
        identification: 0,
        fragment: 0,
        hops: 64,
        protocol: ICMP,
        checksum: 0,
        source: old.destination,
        destination: old.source,
    };
    header.checksum = fold(sum(&header, 0));
    make_room(skb, ETHERNET + size_of::<Quote>() as u32, ADDED)
        && skb.store(ETHERNET, &header)
        && skb.store(ETHERNET + size_of::<Header>() as u32, &message)
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
