//! Real frames on a node's links: a bed to send them in, and ways to make them.

mod bed;
mod build;

pub use bed::{Bed, Counted, NODE_PORT, SPOOFED, UNSUPPORTED};
pub use build::{Stack, arp, is_hidden, is_of_priority, stacks, tagged, to, typed};
