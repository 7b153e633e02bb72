//! Programs that are killed just before a given system call by which they write.

mod calls;
mod traced;

pub use traced::{BY, Traced, WITH_INPUT};
