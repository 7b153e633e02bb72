//! Which address each attachment has. Owned by the plugin, kept in one file under a lock.
//!
//! Addresses are released by key, never by address: after a reboot runtimes send DELs for sandboxes whose
//! addresses others have by then.

pub mod choose;
pub mod file;
pub mod lock;
pub mod range;
pub mod state;
pub mod usage;

pub use choose::{Choice, Exhausted, InUse};
pub use state::State;
pub use usage::Usage;
