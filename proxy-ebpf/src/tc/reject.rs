//! Telling a client that nobody serves: the packet itself is turned into the answer.
//!
//! TCP gets a RST of the packet's own length, made by increments, so that its checksum is right even if the
//! device would have computed it. All else gets "port unreachable", which quotes the packet's first bytes.

mod v4;
mod v6;

use proxy_common::address::TCP;
use proxy_common::counters::{INVALID_PACKET, NO_BACKEND, REWRITE_FAILED};

use super::packet::{ACK, ERROR, FIN, LATER_FRAGMENT, Packet, RST, SYN, UNKNOWN_FRAGMENT};
use super::skb::{ETHERNET, Skb};
use super::verdict::{CONTINUE, Verdict, dropped};
use crate::maps::Family;

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

/// Makes the answer in place. `CONTINUE`: send it back where the packet came from.
#[inline(always)]
pub fn reject<F: Family>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    if matches!(packet.shape, LATER_FRAGMENT | UNKNOWN_FRAGMENT | ERROR) {
        return dropped(NO_BACKEND);
    }
    let made = if packet.protocol == TCP {
        if packet.tcp & RST != 0 {
            // No RST for a RST.
            return dropped(NO_BACKEND);
        }
        reset(skb, packet)
    } else if F::IPV6 {
        v6::unreachable(skb, packet)
    } else {
        v4::unreachable(skb, packet)
    };
    if made {
        swap_hardware(skb)
    } else {
        dropped(REWRITE_FAILED)
    }
}

/// Sender and receiver of the frame change places.
#[inline(always)]
fn swap_hardware(skb: Skb) -> Verdict {
    let Some([destination, source]) = skb.load::<[[u8; 6]; 2]>(0) else {
        return dropped(INVALID_PACKET);
    };
    if skb.store(0, &[source, destination]) {
        CONTINUE
    } else {
        dropped(REWRITE_FAILED)
    }
}

/// RFC 9293, 3.10.7.1.
#[inline(always)]
fn reset<F: Family>(skb: Skb, packet: &Packet<F>) -> bool {
    let at = packet.transport;
    let Some(old) = skb.load::<Tcp>(at) else {
        return false;
    };
    let mut new = old;
    let [offset, flags] = old.offset_and_flags;
    if flags & ACK != 0 {
        new.sequence = old.acknowledgement;
        new.acknowledgement = 0;
        new.offset_and_flags = [offset, RST];
    } else {
        let headers = at + u32::from(offset >> 4) * 4;
        let mut length = skb.length().wrapping_sub(headers);
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
    let checksum = at + 16;
    let word = |bytes: [u8; 2]| u32::from(u16::from_ne_bytes(bytes));
    skb.word_checksum(checksum, old.sequence, new.sequence, 4)
        && skb.word_checksum(checksum, old.acknowledgement, new.acknowledgement, 4)
        && skb.word_checksum(
            checksum,
            word(old.offset_and_flags),
            word(new.offset_and_flags),
            2,
        )
        && skb.store(at, &new)
        && skb.store(
            ETHERNET + if F::IPV6 { 8 } else { 12 },
            &[packet.destination, packet.source],
        )
}
