//! The file system of upstream's test image: a small Debian with network tools.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::tools::debian;
use crate::{paths, run, say};

/// What upstream's tests call inside of pods.
const PACKAGES: &str = "ca-certificates,conntrack,curl,dnsutils,iperf3,iproute2,iputils-ping,netcat-openbsd,procps,wget";

/// The root as a tar file, made once.
pub(super) fn tar() -> Result<PathBuf> {
    let folder = paths::cache()?.join("images");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("bookworm-root-{}.tar", PACKAGES.split(',').count()));
    if path.exists() {
        return Ok(path);
    }
    debian::host(&[("mmdebstrap", "mmdebstrap")])?;
    let fresh = folder.join("bookworm-root.new.tar");
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap
        .args([
            "--variant=minbase",
            &format!("--include={PACKAGES}"),
            "bookworm",
        ])
        .arg(&fresh)
        .arg(debian::mirror()?);
    say::step("bootstrap a Debian root for test images", || {
        run::logged(&mut bootstrap, &paths::log("mmdebstrap")?)
    })
    .context("hint: is the Debian mirror reachable? mmdebstrap must run as root")?;
    std::fs::rename(&fresh, &path)?;
    Ok(path)
}
