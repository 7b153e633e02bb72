//! What lists the crates that a program is made of.

use std::path::PathBuf;

use anyhow::Result;

const VERSION: &str = "0.10.0";

/// Installs it if it is missing.
pub(crate) fn ensure() -> Result<PathBuf> {
    super::crates::ensure("cargo-sbom", VERSION, &[])
}
