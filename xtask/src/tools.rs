//! Finds or installs what a build or a test needs, into the cache folder, keyed by version.

pub(crate) mod crates;
pub(crate) mod cross;
pub(crate) mod debian;
pub(crate) mod deny;
pub(crate) mod go;
pub(crate) mod mdbook;
pub(crate) mod sbom;
mod standard_library;
pub(crate) mod toolchain;

use anyhow::Result;
use debian::Suite;

/// All versions that pods are still wired by, side by side.
pub(crate) fn containerd() -> Result<()> {
    for (suite, version) in [
        (Suite::Bookworm, "1.6."),
        (Suite::Trixie, "1.7."),
        (Suite::Sid, "2."),
    ] {
        suite.unpack("containerd", version)?;
    }
    Suite::Bookworm.unpack("runc", "1.1.")?;
    Suite::Bookworm.unpack("busybox-static", "")?;
    Ok(())
}
