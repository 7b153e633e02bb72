//! What checks licences and sources of dependencies.

use std::path::PathBuf;

use anyhow::Result;

/// The version that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

/// Installs it if it is missing.
pub(crate) fn ensure() -> Result<PathBuf> {
    super::crates::ensure("cargo-deny", VERSION, &[])
}
