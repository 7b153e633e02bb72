//! Checksums that are not there yet.

use proxy_common::address::SCTP;

use super::description::Packet;
use super::rewrite::{CRC, plain_checksum};
use crate::machine::frame::Frame;
use crate::maps::Family;

/// Whether the checksum of a plain packet may be one that its sender's device was to finish, as a veth never does
/// (`CHECKSUM_PARTIAL`): the sum of the pseudo header alone, or zero where it is a CRC. Of finished ones it is one in 65536 that looks so. True as well
/// if there is none to be seen.
#[inline(always)]
pub fn is_unfinished<F: Family>(frame: impl Frame, packet: &Packet<F>) -> bool {
    if packet.protocol == SCTP {
        let crc = frame.read::<u32>((packet.link & 15) + F::HEADER + CRC);
        return crc.unwrap_or(0) == 0;
    }
    let Some(checksum) = plain_checksum(packet) else {
        return true;
    };
    let Some(found) = frame.read::<u16>(checksum.at) else {
        return true;
    };
    let length = packet.length.wrapping_sub(F::HEADER) as u16;
    let mut sum = words(&packet.source) + words(&packet.destination);
    sum += u64::from(length.to_be()) + u64::from(u16::from(packet.protocol).to_be());
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    // Of zero there are two forms.
    let is_zero = |sum| sum == 0 || sum == 0xffff;
    sum == u64::from(found) || is_zero(sum) && is_zero(u64::from(found))
}

#[inline(always)]
fn words<A: Copy>(address: &A) -> u64 {
    let address: *const u32 = (&raw const *address).cast();
    let mut sum = 0;
    let mut word = 0;
    while word < size_of::<A>() / 4 {
        // SAFETY: below its size; it is made of such words.
        sum += u64::from(unsafe { core::ptr::read_volatile(address.add(word)) });
        word += 1;
    }
    sum
}
