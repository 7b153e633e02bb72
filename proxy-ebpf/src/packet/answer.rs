//! What is answered in a packet's place: the packet itself is turned into the answer.
//!
//! TCP gets a RST of the packet's own length, made by increments, so that its checksum is right even if the
//! device would have computed it. All else gets an ICMP error, which quotes the packet's first bytes.

mod v4;
mod v6;

use proxy_common::address::{SCTP, TCP};

use super::description::{ACK, ERROR, FIN, LATER_FRAGMENT, Packet, RST, SYN};
use crate::machine::checksum::sum;
use crate::machine::frame::{Checksum, Frame};
use crate::machine::skb::Skb;
use crate::maps::Family;

/// The port is unreachable, or the connection refused.
pub const REFUSED: u32 = 0;
/// There is no way to the destination.
pub const NO_ROUTE: u32 = 1;
/// The packet's hop limit is reached.
pub const NO_HOPS: u32 = 2;
/// The packet is too big for its way; the argument beside this is the way's MTU.
pub const TOO_BIG: u32 = 3;
/// The packet is an echo request, and this is the reply.
pub const ECHO: u32 = 4;

/// Who answers: whom the client asked, or the node.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Speaker<F: Family> {
    /// Its address.
    pub address: F::Address,
}

/// TCP without options.
#[derive(Clone, Copy)]
#[repr(C)]
struct Tcp {
    ports: [u16; 2],
    sequence: u32,
    acknowledgement: u32,
    offset_and_flags: [u8; 2],
    window: u16,
}

/// Makes the answer of `speaker` in place: `kind` is one of this module's, `mtu` that of the way if that is too small.
/// True: send it back where the packet came from. False: there is none to be made.
#[inline(always)]
pub fn answer<F: Family>(
    skb: Skb,
    packet: &mut Packet<F>,
    speaker: &Speaker<F>,
    kind: u32,
    mtu: u32,
) -> bool {
    if packet.shape >= LATER_FRAGMENT || !may_be_told(packet) {
        return false;
    }
    if kind == ECHO {
        return reply(skb, packet) && swap_hardware(skb, packet.link);
    }
    let resets = kind == REFUSED && packet.protocol == TCP;
    let made = if resets {
        if packet.tcp & RST != 0 {
            // No RST for a RST.
            return false;
        }
        reset(skb, packet)
    } else if let Some(v6) = packet.v6() {
        v6::unreachable(skb, v6, F::as_ipv6(speaker.address), kind, mtu)
    } else {
        v4::unreachable(skb, packet, F::as_ipv6(speaker.address)[3], kind, mtu)
    };
    made && swap_hardware(skb, packet.link)
}

/// How much of a packet's transport is quoted, and its sum: eight bytes, or as many as the kernel keeps: it cuts no packet within what
/// a device is to compute a checksum of (<https://elixir.bootlin.com/linux/v6.12/source/net/core/filter.c#L3750>).
#[inline(always)]
fn transport<F: Family>(frame: Skb, packet: &Packet<F>) -> Option<(u32, u32)> {
    // Its bytes are read for their sum only, and the stack that they need is free again.
    let at = packet.transport;
    match packet.protocol {
        TCP => frame.load::<[u32; 5]>(at).map(|bytes| (20, sum(&bytes, 0))),
        SCTP => frame.load::<[u32; 3]>(at).map(|bytes| (12, sum(&bytes, 0))),
        _ => frame.load::<[u32; 2]>(at).map(|bytes| (8, sum(&bytes, 0))),
    }
}

/// Errors about errors are not made, nor any for those who cannot have asked (RFC 1122, 3.2.2; RFC 4443, 2.4).
#[inline(always)]
fn may_be_told<F: Family>(packet: &Packet<F>) -> bool {
    if packet.shape == ERROR {
        return false;
    }
    let source = F::as_ipv6(packet.source);
    let first = source[if F::IPV6 { 0 } else { 3 }].to_ne_bytes()[0];
    if F::IPV6 {
        first != 0xff && source != [0; 4]
    } else {
        // Multicast, reserved and broadcast stand above 224; 0 is this network.
        first != 0 && first < 224
    }
}

/// Sender and receiver of the frame change places.
#[inline(always)]
fn swap_hardware(frame: impl Frame, link: u32) -> bool {
    if link == 0 {
        return true;
    }
    let Some([destination, source]) = frame.load::<[[u8; 6]; 2]>(0) else {
        return false;
    };
    frame.store(0, &[source, destination])
}

/// RFC 9293, 3.10.7.1. Not inlined, as all that makes answers: it needs stack of which few packets have need.
#[inline(never)]
fn reset<F: Family>(frame: Skb, packet: &Packet<F>) -> bool {
    let at = packet.transport;
    let Some(old) = frame.load::<Tcp>(at) else {
        return false;
    };
    let mut new = old;
    let [offset, flags] = old.offset_and_flags;
    if flags & ACK != 0 {
        new.sequence = old.acknowledgement;
        new.acknowledgement = 0;
        new.offset_and_flags = [offset, RST];
    } else {
        let headers = at - packet.link + u32::from(offset >> 4) * 4;
        let mut length = packet.length.wrapping_sub(headers);
        if flags & SYN != 0 {
            length += 1;
        }
        if flags & FIN != 0 {
            length += 1;
        }
        new.sequence = 0;
        new.acknowledgement = u32::from_be(old.sequence).wrapping_add(length).to_be();
        new.offset_and_flags = [offset, RST | ACK];
    }
    // Ports and addresses change places, which leaves the sum as it is.
    new.ports = [old.ports[1], old.ports[0]];
    let checksum = Checksum {
        at: at + 16,
        may_be_absent: false,
        ipv6: F::IPV6,
    };
    let word = |bytes: [u8; 2]| u32::from(u16::from_ne_bytes(bytes));
    let [was, is] = [old, new].map(|tcp| word(tcp.offset_and_flags));
    frame.word_checksum(checksum, old.sequence, new.sequence)
        && frame.word_checksum(checksum, old.acknowledgement, new.acknowledgement)
        && frame.word_checksum(checksum, was, is)
        && frame.store(at, &new)
        && frame.store(
            packet.link + if F::IPV6 { 8 } else { 12 },
            &[packet.destination, packet.source],
        )
        && fresh_hops::<F>(frame, packet)
}

/// RFC 792; RFC 4443, 4.2: type, addresses and hops change, all else comes back.
#[inline(never)]
fn reply<F: Family>(frame: Skb, packet: &Packet<F>) -> bool {
    let at = packet.transport;
    let word = |kind: u8| u32::from(u16::from_ne_bytes([kind, 0]));
    let checksum = Checksum {
        at: at + 2,
        may_be_absent: false,
        ipv6: F::IPV6,
    };
    frame.word_checksum(checksum, word(F::ECHO_REQUEST), word(F::ECHO_REPLY))
        && frame.store(at, &F::ECHO_REPLY)
        && frame.store(
            packet.link + if F::IPV6 { 8 } else { 12 },
            &[packet.destination, packet.source],
        )
        && fresh_hops::<F>(frame, packet)
}

/// The answer is the node's own and has all its hops before it.
#[inline(always)]
fn fresh_hops<F: Family>(frame: impl Frame, packet: &Packet<F>) -> bool {
    const HOPS: u8 = 64;
    if F::IPV6 {
        return frame.store(packet.link + 7, &HOPS);
    }
    let [old, new] =
        [packet.hops, HOPS].map(|hops| u32::from(u16::from_ne_bytes([hops, packet.carrier])));
    let difference = crate::machine::checksum::difference(&old, &new);
    frame.header_checksum(packet.link + 10, difference) && frame.store(packet.link + 8, &HOPS)
}
