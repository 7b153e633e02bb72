//! `INTERVALS` (ARRAY, block number → [`IntervalBlock`]): which protocols and ports a cell allows.
//!
//! A list is a chain of blocks. Its intervals are disjoint and sorted by protocol and low end over the
//! whole chain. A packet that lies in none of them gets `default_verdict`. Blocks never change while a cell
//! refers to them.

use crate::pod::map_types;

/// Intervals in one block.
pub const BLOCK_INTERVALS: usize = 20;
/// Longest chain that the datapath follows: 160 intervals.
pub const CHAIN_LIMIT: usize = 8;
/// Default capacity of `INTERVALS`, in blocks. Block 0 is not used.
pub const BLOCKS_DEFAULT: u32 = 4096;

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
    /// Names the rule.
    pub cookie: u32,
}

/// Value of `INTERVALS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IntervalBlock {
    /// Intervals in use, at most [`BLOCK_INTERVALS`].
    pub count: u8,
    /// `VERDICT_*` for what no interval holds (read from the first block).
    pub default_verdict: u8,
    /// Zero.
    pub pad: u16,
    /// Cookie of the default verdict.
    pub default_cookie: u32,
    /// Next block; 0 for none.
    pub next: u32,
    /// Zero.
    pub pad2: u32,
    /// The intervals.
    pub intervals: [Interval; BLOCK_INTERVALS],
}

map_types!(Interval = 12, IntervalBlock = 256);
