//! The tunnel over IPv4: UDP without a checksum, as RFC 7348 asks for.

use proxy_common::address::UDP;

use super::{HOPS, Outer, TYPE, datagram, halves};
use crate::machine::checksum::fold;
use crate::machine::frame::{ETH_IP, ETHERNET, Frame};

/// Length of the header.
const IP: u32 = 20;
/// Version of IP and length of its header.
const VERSION: u8 = 0x45;
/// Do not fragment.
const WHOLE: u8 = 0x40;

/// Writes all from the Ethernet type on.
#[inline(always)]
pub(super) fn write<B: Frame>(frame: B, ends: [u32; 2], outer: &Outer) -> bool {
    frame.put(TYPE, &ETH_IP)
        && frame.put(ETHERNET, &header(ends, outer))
        && frame.put(ETHERNET + IP, &datagram(outer, IP))
}

#[inline(always)]
const fn header(ends: [u32; 2], outer: &Outer) -> [u32; 5] {
    let [_, _, high, low] = outer.length.to_be_bytes();
    let mut words = [
        u32::from_ne_bytes([VERSION, outer.congestion, high, low]),
        u32::from_ne_bytes([0, 0, WHOLE, 0]),
        u32::from_ne_bytes([HOPS, UDP, 0, 0]),
        ends[0],
        ends[1],
    ];
    let [first, second] = fold(halves(&words)).to_ne_bytes();
    words[2] |= u32::from_ne_bytes([0, 0, first, second]);
    words
}

#[cfg(test)]
mod tests {
    use super::super::tests::{OUTER, sum};
    use super::*;

    #[test]
    fn the_header_says_what_is_in_it() {
        let ends = [[192, 0, 2, 1], [192, 0, 2, 77]].map(u32::from_ne_bytes);
        for length in [56, 57, 1500, 9000, 65_535] {
            let outer = Outer { length, ..OUTER };
            let header = header(ends, &outer).map(u32::to_ne_bytes);
            let header = header.as_flattened();
            assert_eq!(sum(header), 0, "length {length}");
            assert_eq!(header[..2], [0x45, 1]);
            assert_eq!(header[2..4], (length as u16).to_be_bytes());
            assert_eq!(header[6..10], [0x40, 0, 64, 17]);
            assert_eq!(header[12..], [192, 0, 2, 1, 192, 0, 2, 77]);
        }
    }
}
