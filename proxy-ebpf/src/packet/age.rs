//! One hop less.

use super::description::Packet;
use crate::machine::checksum::fold;
use crate::machine::frame::Frame;
use crate::maps::Family;

/// The part of an IPv4 header that ages.
#[derive(Clone, Copy)]
#[repr(C)]
struct Age4 {
    hops: u8,
    protocol: u8,
    checksum: u16,
}

/// Takes one from the hop limit. False if the packet cannot be written.
#[inline(always)]
pub fn age<B: Frame, F: Family>(frame: B, packet: &mut Packet<F>) -> bool {
    packet.hops = packet.hops.wrapping_sub(1);
    if F::IPV6 {
        return frame.put(packet.link + 7, &packet.hops);
    }
    let at = packet.link + 8;
    let Some(old) = frame.read::<Age4>(at) else {
        return false;
    };
    let word = |hops| u16::from_ne_bytes([hops, old.protocol]);
    let sum = u32::from(!old.checksum) + u32::from(!word(old.hops)) + u32::from(word(packet.hops));
    let new = Age4 {
        hops: packet.hops,
        protocol: old.protocol,
        checksum: fold(sum),
    };
    frame.put(at, &new)
}
