//! Puts in place what the layers need, so that no test has to be skipped.

use std::thread;

use anyhow::{Result, anyhow};

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

/// Installs what is missing for these layers, with kernels of these architectures. Programs and tests are built beside
/// that: either alone leaves processors idle now and then.
pub(super) fn all(layers: &[Layer], architectures: &[Arch]) -> Result<()> {
    toolchain::ensure()?;
    let runs_targets = layers
        .iter()
        .any(|layer| matches!(layer, Layer::Targets(..)));
    thread::scope(|scope| {
        let tools = scope.spawn(|| tools(layers, runs_targets, architectures));
        let built = if runs_targets { build() } else { Ok(()) };
        let tools = tools.join();
        tools.map_err(|_panic| anyhow!("what installs tools panicked"))??;
        built
    })
}

fn tools(layers: &[Layer], runs_targets: bool, architectures: &[Arch]) -> Result<()> {
    let has = |name: &str| layers.iter().any(|layer| layer.name() == name);
    if runs_targets {
        debian::host(&HOST)?;
        go::ensure(&go::CONTROL_PLANE)?;
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

fn build() -> Result<()> {
    say::step("build the programs under test", programs)?;
    say::step("build the tests", tests)
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
