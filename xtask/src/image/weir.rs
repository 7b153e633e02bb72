//! Weir's own image: three static programs and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::archive::{self, Image};
use super::layer::Layer;
use crate::{arch::Arch, build, paths};

const ABOUT: &str = "An eBPF replacement of kube-proxy and of the CNI plugin";
/// The agent's, and that of the programs in the kernel.
const LICENSES: &str = "Apache-2.0 AND (Apache-2.0 OR MIT OR GPL-2.0-only)";
/// Its name in the overlays of `deploy/`.
pub(crate) const NAME: &str = "localhost/weir:dev";

/// Builds this machine's programs with a cargo profile and writes `target/weir-image.tar`, an image of this name; returns its path.
pub(crate) fn write(profile: &str, name: &str) -> Result<PathBuf> {
    write_for(Arch::HOST, profile, name)
}

/// As [`write`], for an architecture.
pub(super) fn write_for(arch: Arch, profile: &str, name: &str) -> Result<PathBuf> {
    let programs = build::programs(profile, arch)?;
    let scratch = paths::root().join("target/image");
    fs::create_dir_all(&scratch)?;
    let mut layer = Layer::create(scratch.join("weir.tar"))?;
    for folder in ["etc", "etc/weir", "run", "tmp", "usr", "usr/bin"] {
        layer.folder(folder, 0o755)?;
    }
    for (name, program) in build::PROGRAMS.iter().zip(&programs) {
        layer.program(&format!("usr/bin/{name}"), program)?;
    }
    let image = Image {
        names: vec![name.to_owned()],
        arch,
        layers: vec![layer.finish()?],
        entrypoint: vec!["/usr/bin/proxy-agent"],
        command: Vec::new(),
        labels: labels()?,
    };
    let path = paths::root().join("target/weir-image.tar");
    archive::write(&[image], &path)?;
    Ok(path)
}

/// What the image says of itself; where it comes from only if that is told (`WEIR_SOURCE`).
fn labels() -> Result<BTreeMap<&'static str, String>> {
    let text = |words: &str| Some(words.to_owned());
    let source = std::env::var("WEIR_SOURCE").ok();
    let all = [
        ("org.opencontainers.image.title", text("weir")),
        ("org.opencontainers.image.description", text(ABOUT)),
        (
            "org.opencontainers.image.version",
            text(env!("CARGO_PKG_VERSION")),
        ),
        ("org.opencontainers.image.licenses", text(LICENSES)),
        (
            "org.opencontainers.image.revision",
            build::revision(paths::root())?,
        ),
        ("org.opencontainers.image.source", source),
    ];
    let told = all
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    Ok(told.collect())
}
