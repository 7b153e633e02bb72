//! Where things are: the checkout, the cache of installed tools, the folder of logs.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

/// The checkout.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The cache: `$WEIR_CACHE`, else `weir` in the user's cache folder.
pub(crate) fn cache() -> Result<PathBuf> {
    crate::cache::folder().map_err(|error| anyhow!(error))
}

/// The log of a long step.
pub(crate) fn log(name: &str) -> Result<PathBuf> {
    Ok(cache()?.join("logs").join(format!("{name}.log")))
}
