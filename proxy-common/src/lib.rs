//! Map ABI of Weir: the keys and values of every pinned map, one module per map, and the arithmetic
//! that both the kernel and the agent must agree on.
//!
//! Byte order: addresses and ports are in **network order** in maps (as they stand in a packet);
//! ids, flags, seconds and counts are in host order. Every type is `repr(C)` with its padding spelt
//! out, so that the bytes of a key are fully determined. A change here changes what `layout` tells.
#![no_std]
#![cfg_attr(
    feature = "user",
    expect(unsafe_code, reason = "types of maps are plain old data")
)]

#[cfg(test)]
extern crate std;

mod pod;

pub mod address;
pub mod affinity;
pub mod backends;
pub mod conntrack;
pub mod counters;
pub mod endpoints;
pub mod fragments;
pub mod frontends;
pub mod host;
pub mod inside;
pub mod layout;
pub mod maglev;
pub mod node;
pub mod pace;
pub mod policy;
pub mod route_sources;
pub mod sockets;
pub mod sources;
pub mod time;
pub mod told;
pub mod tunnel;
#[cfg(feature = "user")]
pub mod v1;
pub mod vips;
