//! `INTERVALS` (ARRAY, block number → [`IntervalBlock`]): which protocols and ports a cell allows.
//!
//! A list is a tree of blocks. Its intervals are disjoint and sorted by [`Interval::key`] over all leaves. An entry of an
//! inner block has the key of the first interval below it, and the number of the block below as its `cookie`. A search
//! goes to the last entry whose key is not above the one sought: what no interval of the leaf holds is denied. Blocks
//! never change while a cell refers to them.

use crate::pod::map_types;

/// Intervals in one block.
pub const BLOCK_INTERVALS: usize = 21;
/// Blocks from the root to a leaf, at most.
pub const LIST_DEPTH: usize = 4;
/// Intervals in one list, at most. Single ports, no two of them neighbours, of three protocols are half as many.
pub const LIST_LIMIT: usize = BLOCK_INTERVALS.pow(LIST_DEPTH as u32);
/// Default capacity of `INTERVALS`, in blocks. Block 0 is not used.
pub const BLOCKS_DEFAULT: u32 = 4096;

const _: () = assert!(LIST_LIMIT > 3 * (1 << 15));

/// Verdict: deny.
pub const VERDICT_DENY: u8 = 0;
/// Verdict: allow.
pub const VERDICT_ALLOW: u8 = 1;

/// Ports `low..=high` of one protocol. For ICMP, `type << 8 | code`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval {
    /// First port, host order.
    pub low: u16,
    /// Last port, host order.
    pub high: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// `VERDICT_*`.
    pub verdict: u8,
    /// Zero.
    pub pad: u16,
    /// Names the rule; in an inner block, the block below.
    pub cookie: u32,
}

impl Interval {
    /// Allows ports `low..=high`, in host order, of an IP protocol.
    #[must_use]
    pub const fn allow(protocol: u8, low: u16, high: u16, cookie: u32) -> Self {
        Self {
            low,
            high,
            protocol,
            verdict: VERDICT_ALLOW,
            pad: 0,
            cookie,
        }
    }

    /// What intervals are sorted by.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every new flow")]
    pub const fn key(&self) -> u32 {
        key(self.protocol, self.low)
    }
}

/// The key of a port of a protocol.
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "BPF: on the path of every new flow")]
pub const fn key(protocol: u8, port: u16) -> u32 {
    (protocol as u32) << 16 | port as u32
}

/// Value of `INTERVALS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IntervalBlock {
    /// Intervals in use, at most [`BLOCK_INTERVALS`].
    pub count: u8,
    /// Blocks below: 0 in a leaf.
    pub level: u8,
    /// Zero.
    pub pad: u16,
    /// The intervals.
    pub intervals: [Interval; BLOCK_INTERVALS],
}

map_types!(Interval = 12, IntervalBlock = 256);
