//! The kube-proxy that Weir is compared with: nftables mode.

use std::{fs::File, process::Stdio, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use weir_world::{Node, Process, kubernetes};

use super::api::Api;
use crate::tools::go;

/// Starts it on a node; one that ends at once fails with what it said.
pub(super) fn start(node: &Node, api: &Api) -> Result<Process> {
    let config = kubernetes::kube_proxy(node.name(), "10.244.0.0/16", &api.kubeconfig());
    let path = node.file("/run/kube-proxy.json");
    std::fs::write(&path, config.to_string())
        .with_context(|| format!("write {}", path.display()))?;
    let log_path = node.file("/run/kube-proxy.log");
    let log = File::create(&log_path)?;
    let mut command = node.command(go::KUBE_PROXY.ensure()?)?;
    command
        .arg("--config=/run/kube-proxy.json")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let mut process = Process::start(command)?;
    thread::sleep(Duration::from_secs(1));
    if let Some(status) = process.ended()? {
        let log = std::fs::read_to_string(&log_path).unwrap_or_default();
        bail!("kube-proxy ended: {status}\n{log}");
    }
    Ok(process)
}
