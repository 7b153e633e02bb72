//! Where the programs hang: cgroup hooks of the node, tc hooks of interfaces.
//!
//! Each attachment is a link, pinned, so that it outlives the agent; a restart puts its own program behind
//! the same link in one step.

pub mod attachments;
pub mod cgroup;
pub mod interface;

mod clsact;
mod pinned;

pub use attachments::Attachment;
pub use interface::{Hook, TcMode, TcPreference};
