//! What makes the book.

use std::path::PathBuf;

use anyhow::Result;

/// The version that `book.toml` is written for.
const VERSION: &str = "0.5.4";

/// Installs it if it is missing, without the server that shows a book while it is written.
pub(crate) fn ensure() -> Result<PathBuf> {
    let flags = ["--no-default-features", "--features", "search"];
    super::crates::ensure("mdbook", VERSION, &flags)
}
