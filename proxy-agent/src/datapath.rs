//! The kernel side as the agent uses it: loading, pinning, typed maps. The only user of aya.

pub mod prefix;
pub mod table;
pub mod words;
