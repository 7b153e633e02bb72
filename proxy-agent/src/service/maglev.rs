//! Maglev: the tables by which what comes from outside chooses a backend that all nodes choose.
//!
//! A set has a table if a frontend is served by it that is reached from outside, and it has two backends or more. It is built
//! beside the main loop ([`builder`], [`build`]), written after the set ([`tables`]), and then its frontends are led to it
//! ([`sync::tables`](super::sync)). Until then, and where there is no room, they choose at random.

pub mod build;
pub mod builder;
pub mod tables;

use proxy_common::frontends::{FLAG_EXTERNAL_IP, FLAG_LOAD_BALANCER, FLAG_NODE_PORT};

pub use builder::Builder;
pub use tables::Tables;

/// Frontends that are reached from outside: `FLAG_*` bits.
pub const OUTSIDE: u32 = FLAG_NODE_PORT | FLAG_LOAD_BALANCER | FLAG_EXTERNAL_IP;

/// Whether a set of so many backends has a table of so many places. One backend is everybody's choice anyway.
#[must_use]
pub fn has_table(size: u16, backends: usize) -> bool {
    (2..=usize::from(size)).contains(&backends)
}
