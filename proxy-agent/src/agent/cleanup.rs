//! `proxy-agent cleanup`: removes all that Weir put on this node, and goes on after errors.

use std::{fs, io, path::Path, time::Duration};

use anyhow::{Context as _, bail};

use cni_plugin::{log, paths::Paths, salvage, wiring::netlink::Netlink};
use proxy_common::{
    host::HOST_DEVICE,
    tunnel::{ENCRYPTION_DEVICE, TUNNEL_DEVICE},
};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::farewell::Farewell;
use crate::{
    config::Configuration,
    datapath::{DatapathError, Pins, detach_all},
    node::{
        conflist, encryption,
        facts::Facts,
        host_device::link,
        routes::{self, RouteTable, Routes, TO_NODES},
        tunnel,
    },
    observe::{kubernetes::KNOWN_SERVERS, nodes::kept::KNOWN_NODES},
    pod::limits,
    usage::in_full,
};

/// When it is looked again whether the pods that were left have gone.
const AGAIN: Duration = Duration::from_secs(10);

/// Removes everything; fails with the list of what could not be removed. First what lets the plugin wire pods, and the
/// pins last, so that traffic goes on as long as it can. While pods of ours are left, what their DEL needs stays: says how
/// many.
pub fn run(config: &Configuration) -> anyhow::Result<usize> {
    let mut errors = Vec::new();
    let paths = Paths::new(&config.run_dir);
    remove(&paths.node(), &mut errors);
    let pods = pods(&mut errors);
    conflist(config, pods > 0, &mut errors);
    host_device(&mut errors);
    if let Err(error) = tunnel::link::remove() {
        errors.push(format!("remove {TUNNEL_DEVICE}: {error}"));
    }
    if let Err(error) = encryption::link::remove() {
        errors.push(format!("remove {ENCRYPTION_DEVICE}: {error}"));
    }
    let of_key = encryption::files::Files::of(&config.run_dir).all();
    for path in of_key.iter().chain([&config.run_dir.join(KNOWN_NODES)]) {
        remove(path, &mut errors);
    }
    match Pins::new(&config.bpffs, &config.instance) {
        Ok(pins) => {
            detach(&pins, &config.instance, &mut errors);
            errors.extend(pins.remove().iter().map(DatapathError::to_string));
        }
        Err(error) => errors.push(error.to_string()),
    }
    // After the programs, which lead pods' packets there.
    if let Err(error) = limits::clear() {
        errors.push(format!("remove pods' limits of bandwidth: {error}"));
    }
    routes(&mut errors);
    for path in [config.socket(), paths.socket(), paths.heartbeat()] {
        remove(&path, &mut errors);
    }
    if pods == 0 {
        ledger(&paths, &mut errors);
    }
    if errors.is_empty() {
        return Ok(pods);
    }
    bail!(
        "not everything could be removed:\n  {}",
        errors.join("\n  ")
    );
}

/// Says what is left for how many pods, and who removes it.
pub fn tell(config: &Configuration, pods: usize, stays: bool) {
    if pods == 0 {
        tracing::info!("cleaned up");
        return;
    }
    let left = config.cni.conf_dir.join(conflist::FAREWELL);
    let then = if stays {
        "it goes with the last of them"
    } else {
        "run it again when they are gone"
    };
    tracing::warn!(
        pods,
        left = %left.display(),
        "cleaned up but for what deletes the pods that are left; {then}"
    );
}

/// Stays until it is told to end, and runs again while pods are left: the pods of a `DaemonSet` would be started anew.
pub fn stay(config: &Configuration, mut left: usize) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("listen to SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listen to SIGINT")?;
        let mut farewell = Farewell::prepare(config).await;
        loop {
            farewell.say(config).await;
            tokio::select! {
                _ = terminate.recv() => return forget_servers(config),
                _ = interrupt.recv() => return forget_servers(config),
                () = sleep(AGAIN) => {
                    if left == 0 {
                        continue;
                    }
                    let before = std::mem::replace(&mut left, run(config)?);
                    if left != before {
                        tell(config, left, true);
                    }
                }
            }
        }
    })
}

/// Says on the Node that it has no network any more, as far as it can be said.
pub fn take_leave(config: &Configuration) -> anyhow::Result<()> {
    runtime()?.block_on(async { Farewell::prepare(config).await.say(config).await });
    forget_servers(config)
}

/// Last: who says something to the API server looks there where it is.
fn forget_servers(config: &Configuration) -> anyhow::Result<()> {
    let mut errors = Vec::new();
    remove(&config.run_dir.join(KNOWN_SERVERS), &mut errors);
    match errors.pop() {
        None => Ok(()),
        Some(error) => bail!(error),
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.context("start a runtime")
}

/// With its routes: while the programs are there, the host's packets to Services are still caught at the uplink.
fn host_device(errors: &mut Vec<String>) {
    if let Err(error) = link::remove() {
        errors.push(format!("remove {HOST_DEVICE}: {error}"));
    }
}

/// How many pods of ours there are, by their interfaces. Records tell less: where another plugin's configuration comes first the
/// runtime asks that one to delete our pods, and nobody removes the record. What cannot be told counts as one.
fn pods(errors: &mut Vec<String>) -> usize {
    let links = Netlink::open().and_then(|mut netlink| salvage::links(&mut netlink));
    links.map_or_else(
        |error| {
            errors.push(format!("list interfaces: {error}"));
            1
        },
        |links| links.len(),
    )
}

/// Only where this instance installs it, or one has that was configured otherwise than this call. The plugin's binary stays: a
/// runtime may be about to call it.
fn conflist(config: &Configuration, pods: bool, errors: &mut Vec<String>) {
    let cni = &config.cni;
    if cni.install || conflist::is_there(&cni.conf_dir, &cni.conf_file) {
        let retired = conflist::retire(&cni.conf_dir, &cni.conf_file, &config.run_dir, pods);
        errors.extend(retired.err().map(|error| in_full(&error)));
    }
}

/// What the plugin wrote.
fn ledger(paths: &Paths, errors: &mut Vec<String>) {
    let log = paths.log();
    for path in [log::former(&log), log, paths.ipam(), paths.lock()] {
        remove(&path, errors);
    }
    for folder in [paths.attachments(), paths.tombstones()] {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                errors.push(format!("remove {}: {error}", folder.display()));
            }
            _ => {}
        }
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
    let removed = RouteTable::open()
        .map(|mut table| routes::bring(&mut table, TO_NODES, &Routes::new(), true));
    match removed {
        Ok(brought) => errors.extend(brought.errors),
        Err(error) => errors.push(format!("read routes: {error}")),
    }
}
