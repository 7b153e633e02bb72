//! Changes of `CRC32c` (RFC 9260, appendix A), by which SCTP protects a packet: without reading it.
//!
//! A CRC is linear: the one of a packet in which some bits changed differs by that of these bits alone, and that depends on what
//! changed and on how many bytes follow, whatever they are. Each bit is a power of x modulo the polynomial, as in zlib's
//! `crc32_combine` (<https://github.com/madler/zlib/blob/v1.3.1/crc32.c#L176>).

use super::words::opaque;

/// The polynomial without its highest power; bit 31 is x^0.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x to the power of 8, 16, 32 and so on: what so many zero bytes multiply by.
const ZEROS: [u32; LENGTH_BITS] = zeros();
/// x to the power of 0.
const ONE: u32 = 1 << 31;
/// Bits of the length of an IP packet.
const LENGTH_BITS: usize = 16;

const fn zeros() -> [u32; LENGTH_BITS] {
    let mut powers = [0x0080_0000; LENGTH_BITS];
    let mut bit = 1;
    while bit < LENGTH_BITS {
        powers[bit] = product(powers[bit - 1], powers[bit - 1]);
        bit += 1;
    }
    powers
}

/// A product modulo the polynomial.
const fn product(mut one: u32, mut other: u32) -> u32 {
    let (mut product, mut bit) = (0, 0);
    while bit < 32 {
        product ^= other & all_or_none(one >> 31);
        one <<= 1;
        other = (other >> 1) ^ (POLYNOMIAL & all_or_none(other & 1));
        bit += 1;
    }
    product
}

/// [`product`] in the program.
#[inline(always)]
fn multiply(mut one: u64, mut other: u64) -> u64 {
    let mut product = 0;
    for _ in 0..32 {
        product ^= other & all_or_none_of(one >> 31 & 1);
        one <<= 1;
        other = (other >> 1) ^ (u64::from(POLYNOMIAL) & all_or_none_of(other & 1));
    }
    product
}

const fn all_or_none(bit: u32) -> u32 {
    0_u32.wrapping_sub(bit)
}

/// The compiler is not to know that it is a bit: it would make a branch of it, and so two ways for the verifier to look at.
#[inline(always)]
fn all_or_none_of(bit: u64) -> u64 {
    0_u64.wrapping_sub(opaque(bit))
}

/// By what the CRC of a packet changes, as it stands in the packet, when four of its bytes, as they stand there, change by
/// `change` (exclusive or) and `after` bytes follow them.
#[inline(always)]
pub fn difference(change: u32, after: u32) -> u32 {
    crc32c_difference(change, after)
}

/// A global function: the verifier looks at it once, for any numbers. Without branches, so that it has one way to look at.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn crc32c_difference(change: u32, after: u32) -> u32 {
    /// x to the power of 32: the four bytes themselves.
    const OWN: u64 = ZEROS[2] as u64;
    let mut difference = multiply(OWN, u64::from(u32::from_le(change)));
    for (bit, zeros) in ZEROS.iter().enumerate() {
        let other = u64::from(ONE ^ *zeros) & all_or_none_of(u64::from(after >> bit & 1));
        difference = multiply(u64::from(ONE) ^ other, difference);
    }
    (difference as u32).to_le()
}
