//! Where the programs hang: cgroup hooks of the node, tc hooks of interfaces.
//!
//! Each attachment is a link, pinned, so that it outlives the agent; a restart puts its own program behind
//! the same link in one step. Interfaces of pods begin with filters in shared blocks ([`blocks`]), which are
//! made faster, and are lifted to links later ([`lift`]).

pub mod attachments;
pub mod blocks;
pub mod cgroup;
pub mod exchange;
pub mod interface;
pub mod lift;
pub mod xdp;

mod clsact;
mod filter;
mod hook;
mod mode;
mod pinned;

pub use attachments::Attachment;
pub use hook::Hook;
pub use lift::Lifter;
pub use mode::{TcMode, TcPreference};
