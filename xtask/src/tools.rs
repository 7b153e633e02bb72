//! Finds or installs what a build or a test needs, into the cache folder, keyed by version.

pub(crate) mod debian;
pub(crate) mod go;
pub(crate) mod toolchain;
