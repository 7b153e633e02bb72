//! `FRAGMENTS4`, `FRAGMENTS6` (LRU HASH): ports of a datagram whose first fragment went by.
//!
//! They are noted before the sender's address is checked, so what a pod sends is kept apart by its interface: it
//! cannot say of other pods' fragments where they go.
//!
//! Identifications come again, soon on a busy way. So an entry is found for as long as a kernel would wait for a datagram's
//! fragments (30 s; `net.ipv4.ipfrag_time`, `net.ipv6.ip6frag_time`) and somewhat longer, then no more: a part of the time stands
//! in its key.

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

/// Key of `FRAGMENTS*`, in the packet's own words, before translation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FragmentKey<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Identification, as on the wire, zero-extended.
    pub identification: u32,
    /// Index of the pod's interface on which it came; 0 if it came from elsewhere.
    pub scope: u32,
    /// IP protocol number of the payload; above its 8 bits the period in which the fragment came ([`period`]).
    pub protocol: u32,
}

/// Length of a period: 2 to this many seconds.
const PERIOD_SHIFT: u32 = 5;

/// The period of a time, in seconds since boot, as it stands in a key. What came in this one or in the one before it is known.
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "BPF: on the path of every fragment")]
pub const fn period(now: u32) -> u32 {
    now >> PERIOD_SHIFT << 8
}

/// The period before one.
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "BPF: on the path of every fragment")]
pub const fn period_before(period: u32) -> u32 {
    period.wrapping_sub(1 << 8)
}

/// Key of `FRAGMENTS4`.
pub type FragmentKey4 = FragmentKey<Address4>;
/// Key of `FRAGMENTS6`.
pub type FragmentKey6 = FragmentKey<Address6>;

/// Value of both.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentPorts {
    /// Source port, network order.
    pub source_port: u16,
    /// Destination port, network order.
    pub destination_port: u16,
}

map_types!(FragmentKey4 = 20, FragmentKey6 = 44, FragmentPorts = 4);
