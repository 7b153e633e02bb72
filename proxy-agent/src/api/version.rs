//! What this program is, as it is shown.

use proxy_common::layout::SCHEMA;

use crate::datapath::declarations;

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Schema of the maps of this program, and one number for all that it declares of them.
pub fn layout() -> String {
    format!("v{}-{:016x}", SCHEMA, declarations::hash())
}
