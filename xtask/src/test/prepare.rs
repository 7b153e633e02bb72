//! Puts in place what the layers need, so that no test has to be skipped.

use std::process::Command;

use anyhow::Result;

use super::layers::Layer;
use crate::tools::{self, debian, go, toolchain};
use crate::{paths, run, say};

/// Programs of the host that the tests' worlds are made with.
const HOST: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("ethtool", "ethtool"),
    ("nft", "nftables"),
];

/// Installs what is missing for these layers.
pub(super) fn all(layers: &[Layer]) -> Result<()> {
    toolchain::ensure()?;
    // Dependencies of some crates are generated from protocol files when they are compiled.
    debian::host(&[("protoc", "protobuf-compiler")])?;
    if layers.iter().any(|layer| !layer.is_unit()) {
        debian::host(&HOST)?;
    }
    let has = |name: &str| layers.iter().any(|layer| layer.name() == name);
    if !layers.iter().all(Layer::is_unit) {
        go::ensure(&go::CONTROL_PLANE)?;
        say::step("build the programs under test", programs)?;
    }
    if has("containerd") {
        tools::containerd()
    } else {
        Ok(())
    }
}

/// Worlds run the real programs, which lie beside the tests.
fn programs() -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(paths::root())
        .args(["build", "--locked", "--quiet", "--bins"])
        .args(["--package", "proxy-agent", "--package", "cni-plugin"]);
    run::loud(&mut cargo)
}
