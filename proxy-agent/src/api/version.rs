//! What this program is, as it is shown.

use proxy_common::layout;

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Hash of the map layout of this program.
pub fn layout() -> String {
    format!("v{}-{:016x}", layout::SCHEMA, layout::HASH)
}
