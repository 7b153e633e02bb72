//! `MAGLEV` (HASH of chunks): the Maglev table of a backend set (Eisenbud et al., "Maglev: A Fast and Reliable Software
//! Network Load Balancer", NSDI 2016, 3.4), by which packets from outside choose a backend that all nodes choose.
//!
//! A table of `size` places, a prime, stands in chunks of [`CHUNK`] places. A place names a slot of its set
//! (`BACKEND_SLOTS`), not a backend: a set is valid at each step of a change, and so is what a table leads to that was made
//! for the set before. Who finds a slot that the set has not takes another one. `Frontend::maglev` is the size of the table
//! of `Frontend::external`, written once all chunks are there; a table of another size has other keys.

use crate::pod::map_types;

/// Places in a chunk: with the map's own words an entry fills 512 bytes of the kernel's memory, and none are lost.
pub const CHUNK: u32 = 224;

/// Key of `MAGLEV`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MaglevKey {
    /// Id of the set.
    pub set: u32,
    /// Places in the table.
    pub size: u16,
    /// Number of the chunk; it begins with place `chunk * CHUNK`.
    pub chunk: u16,
}

/// Value of `MAGLEV`: slots of the set. What is beyond the table's size is zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaglevChunk {
    /// A slot for each place.
    pub slots: [u16; CHUNK as usize],
}

/// How many chunks a table has.
#[must_use]
pub const fn chunks(size: u16) -> u16 {
    size.div_ceil(CHUNK as u16)
}

/// Whether a table can have so many places.
#[must_use]
pub const fn is_prime(number: u16) -> bool {
    let mut divisor = 2;
    while divisor <= number.isqrt() {
        if number.is_multiple_of(divisor) {
            return false;
        }
        divisor += 1;
    }
    number > 1
}

/// The hash of a flow: `MurmurHash3_x86_32` (Appleby, public domain) of words, begun with a seed that all nodes share.
#[derive(Clone, Copy, Debug)]
pub struct FlowHash {
    state: u32,
    bytes: u32,
}

impl FlowHash {
    /// Begins.
    #[inline]
    #[must_use]
    pub const fn new(seed: u32) -> Self {
        let state = seed;
        Self { state, bytes: 0 }
    }

    /// Takes in a word.
    #[inline]
    #[must_use]
    pub const fn with(self, word: u32) -> Self {
        let word = word.wrapping_mul(0xcc9e_2d51).rotate_left(15);
        let mixed = self.state ^ word.wrapping_mul(0x1b87_3593);
        let state = mixed.rotate_left(13).wrapping_mul(5);
        Self {
            state: state.wrapping_add(0xe654_6b64),
            bytes: self.bytes + 4,
        }
    }

    /// Takes in an address, in map form as IPv6.
    #[inline]
    #[must_use]
    pub const fn with_address(self, address: [u32; 4]) -> Self {
        let [a, b, c, d] = address;
        self.with(a).with(b).with(c).with(d)
    }

    /// The hash.
    #[inline]
    #[must_use]
    pub const fn finish(self) -> u32 {
        let mut hash = self.state ^ self.bytes;
        hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
        hash ^ hash >> 16
    }
}

map_types!(MaglevKey = 8, MaglevChunk = 448);

#[cfg(test)]
mod tests {
    use super::*;

    /// As published: <https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp>, with the vectors of
    /// <https://en.wikipedia.org/wiki/MurmurHash>.
    #[test]
    fn the_hash_is_the_published_one() {
        let test = u32::from_le_bytes(*b"test");
        assert_eq!(FlowHash::new(0).with(test).finish(), 0xba6b_d213);
        assert_eq!(FlowHash::new(0x9747_b28c).with(test).finish(), 0x704b_81dc);
        assert_eq!(FlowHash::new(1).finish(), 0x514e_28b7);
    }

    #[test]
    fn primes_are_known() {
        let primes = (0..40).filter(|n| is_prime(*n));
        assert!(primes.eq([2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]));
        assert!([251, 16_381, 65_521].into_iter().all(is_prime));
        assert!(![16_384, 65_535, 16_129].into_iter().any(is_prime));
    }

    #[test]
    fn chunks_hold_a_table_whole() {
        assert_eq!([1, 224, 225, 16381, 65521].map(chunks), [1, 1, 2, 74, 293]);
    }
}
