//! Puts in place what the layers need, so that no test has to be skipped.

use anyhow::Result;

use super::layers::Layer;
use crate::arch::Arch;
use crate::tools::{self, debian, go, toolchain};
use crate::{kernels, run, say};

/// Programs of the host that the tests' worlds are made with.
const HOST: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("ethtool", "ethtool"),
    ("nft", "nftables"),
    ("busybox", "busybox"),
];

/// Installs what is missing for these layers, with kernels of these architectures.
pub(super) fn all(layers: &[Layer], architectures: &[Arch]) -> Result<()> {
    toolchain::ensure()?;
    let has = |name: &str| layers.iter().any(|layer| layer.name() == name);
    if layers
        .iter()
        .any(|layer| matches!(layer, Layer::Targets(..)))
    {
        debian::host(&HOST)?;
        go::ensure(&go::CONTROL_PLANE)?;
        say::step("build the programs under test", programs)?;
        say::step("build the tests", tests)?;
    }
    if has("deploy") || has("docs") {
        go::ensure(&go::DEPLOY)?;
    }
    if has("deploy") {
        tools::sbom::ensure()?;
        debian::host(&[("shellcheck", "shellcheck")])?;
    }
    if has("docs") {
        tools::mdbook::ensure()?;
    }
    if has("containerd") {
        tools::containerd()?;
    }
    if has("kernels") {
        for arch in architectures {
            kernels::prepare(*arch)?;
        }
    }
    Ok(())
}

/// Worlds run the real programs, which lie beside the tests.
fn programs() -> Result<()> {
    // The whole workspace, as in every layer.
    let words = ["build", "--locked", "--quiet", "--workspace", "--bins"];
    run::loud(run::cargo().args(words))
}

/// All at once: jobs that run side by side would wait for each other's.
fn tests() -> Result<()> {
    let words = ["test", "--locked", "--quiet", "--workspace", "--no-run"];
    run::loud(run::cargo().args(words))
}
