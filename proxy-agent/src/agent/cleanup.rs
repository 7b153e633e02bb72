//! `proxy-agent cleanup`: removes all that Weir put on this node, and goes on after errors.

use std::{fs, io, path::Path};

use anyhow::bail;

use cni_plugin::paths::Paths;
use proxy_common::host::HOST_DEVICE;
use tokio::runtime;

use crate::{
    config::Configuration,
    datapath::{DatapathError, Pins, detach_all},
    node::{
        facts::Facts,
        host_device::link,
        routes::{self, RouteTable, Routes, TO_NODES},
    },
};

/// Removes everything; fails with the list of what could not be removed. The conflist goes first, so that
/// no pod is wired meanwhile, and the pins last, so that traffic goes on as long as it can.
pub fn run(config: &Configuration) -> anyhow::Result<()> {
    let mut errors = Vec::new();
    conflist(config, &mut errors);
    host_device(&mut errors);
    match Pins::new(&config.bpffs, &config.instance) {
        Ok(pins) => {
            detach(&pins, &config.instance, &mut errors);
            errors.extend(pins.remove().iter().map(DatapathError::to_string));
        }
        Err(error) => errors.push(error.to_string()),
    }
    routes(&mut errors);
    let paths = Paths::new(&config.run_dir);
    for path in [
        config.socket(),
        paths.socket(),
        paths.node(),
        paths.heartbeat(),
    ] {
        remove(&path, &mut errors);
    }
    if errors.is_empty() {
        tracing::info!("cleaned up");
        return Ok(());
    }
    bail!(
        "not everything could be removed:\n  {}",
        errors.join("\n  ")
    );
}

/// With its routes: while the programs are there, the host's packets to Services are still caught at the uplink.
fn host_device(errors: &mut Vec<String>) {
    if let Err(error) = link::remove() {
        errors.push(format!("remove {HOST_DEVICE}: {error}"));
    }
}

/// Only where this instance installs it. The plugin's binary stays: pods that it has wired still need its
/// DEL, which works without us.
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
fn detach(pins: &Pins, instance: &str, errors: &mut Vec<String>) {
    match Facts::read() {
        Ok(facts) => {
            let interfaces = facts.interfaces.iter().map(|interface| interface.index);
            errors.extend(
                detach_all(pins, instance, interfaces)
                    .iter()
                    .map(DatapathError::to_string),
            );
        }
        Err(error) => errors.push(format!("read the machine's interfaces: {error}")),
    }
}

/// Routes to other nodes' pods.
fn routes(errors: &mut Vec<String>) {
    let runtime = runtime::Builder::new_current_thread().enable_io().build();
    let removed = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let table = RouteTable::open()?;
            Ok(routes::bring(&table, TO_NODES, &Routes::new(), true).await)
        })
    });
    match removed {
        Ok(failed) => errors.extend(failed),
        Err(error) => errors.push(format!("read routes: {error}")),
    }
}
