//! VERSION.

use serde_json::json;

use crate::protocol::supported::{NEWEST, SUPPORTED};

/// Runs the verb, which needs no configuration.
pub fn run() -> String {
    json!({ "cniVersion": NEWEST, "supportedVersions": SUPPORTED }).to_string()
}
