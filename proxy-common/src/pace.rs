//! `PACES` (HASH interface → pace): limits of bandwidth that are kept by times of departure.
//!
//! The key is the index of the interface at whose egress packets get their times, in front of a queue that keeps to these
//! (`sch_fq`): the host's side of a pod's interface, or the entry of the pod's queue.

use crate::pod::map_types;

/// Value of `PACES`: a bucket of tokens in which time stands for tokens. The agent writes it whole when a limit is put in
/// force or changes, and then it is full.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pace {
    /// When it is full again, nanoseconds of `CLOCK_MONOTONIC`. Written by the programs.
    pub full_at: u64,
    /// Bytes per second; not 0.
    pub rate: u64,
    /// Nanoseconds for which a full one lasts.
    pub burst: u64,
    /// Nanoseconds that a packet may wait.
    pub patience: u64,
}

impl Pace {
    /// Nanoseconds that bytes take at a rate, rounded up: rounded down, many small packets would be ahead of their limit.
    #[inline]
    #[must_use]
    pub const fn cost(rate: u64, bytes: u32) -> u64 {
        (bytes as u64 * 1_000_000_000).div_ceil(if rate == 0 { 1 } else { rate })
    }

    /// When the bucket is full again if a packet takes its tokens now.
    #[inline]
    #[must_use]
    pub const fn after(full_at: u64, now: u64, cost: u64) -> u64 {
        (if full_at > now { full_at } else { now }).saturating_add(cost)
    }

    /// When a packet departs that leaves the bucket full at that time.
    #[inline]
    #[must_use]
    pub const fn departure(full_at: u64, burst: u64, now: u64) -> u64 {
        let earned = full_at.saturating_sub(burst);
        if earned > now { earned } else { now }
    }
}

map_types!(Pace = 32);
