//! A packet: what its headers say, how they are rewritten, and what is answered in its place.

pub mod age;
pub mod answer;
pub mod description;
pub mod hold;
pub mod parse;
pub mod rewrite;
pub mod unfinished;
pub mod vxlan;
