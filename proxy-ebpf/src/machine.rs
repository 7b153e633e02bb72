//! The machine under the packets: bytes, checksums, atomics, the clock, scratch space. Nothing here knows what a packet
//! means.

pub mod atomic;
pub mod checksum;
pub mod clock;
pub mod crc32c;
pub mod frame;
pub mod global;
pub mod scratch;
pub mod skb;
pub mod socket;
pub mod tunnel;
pub mod verdict;
pub mod words;
pub mod xdp;
