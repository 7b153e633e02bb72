//! Weir's own image: three static programs and nothing else.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::archive::{self, Image};
use super::layer::Layer;
use crate::{build, paths};

/// Its name in the overlays of `deploy/`.
pub(crate) const NAME: &str = "localhost/weir:dev";

/// Builds the programs with a cargo profile and writes `target/weir-image.tar`; returns its path.
pub(crate) fn write(profile: &str) -> Result<PathBuf> {
    let programs = build::programs(profile)?;
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
        names: vec![NAME],
        layers: vec![layer.finish()?],
        entrypoint: vec!["/usr/bin/proxy-agent"],
        command: Vec::new(),
    };
    let path = paths::root().join("target/weir-image.tar");
    archive::write(&[image], &path)?;
    Ok(path)
}
