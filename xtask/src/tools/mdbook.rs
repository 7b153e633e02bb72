//! What makes the book.

use std::path::PathBuf;

use anyhow::Result;

use crate::cache::MDBOOK;

/// Installs it if it is missing, without the server that shows a book while it is written.
pub(crate) fn ensure() -> Result<PathBuf> {
    let flags = ["--no-default-features", "--features", "search"];
    super::crates::ensure("mdbook", MDBOOK, &flags)
}
