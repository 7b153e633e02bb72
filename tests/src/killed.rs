//! Programs that are killed just before a given system call by which they write.

pub(crate) mod calls;
mod traced;

pub use traced::{BY, Traced, WITH_INPUT};
