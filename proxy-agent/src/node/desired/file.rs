//! `node.json`: what the plugin is to know of the node.

use cni_plugin::node_file::NodeFile;

use super::Desired;
use crate::{config::Configuration, node::facts::Facts};

/// None while the node's ranges are not known.
pub(super) fn file(
    config: &Configuration,
    boot_id: &str,
    desired: &Desired,
    facts: &Facts,
) -> Option<NodeFile> {
    let pod_cidrs = desired.pods.clone();
    if pod_cidrs.is_empty() {
        return None;
    }
    let reserved = facts
        .addresses()
        .filter(|ip| pod_cidrs.iter().any(|range| range.contains(*ip)))
        .collect();
    Some(NodeFile {
        boot_id: boot_id.to_owned(),
        node: config.node_name.clone(),
        pod_cidrs,
        reserved,
        mtu: if config.cni.mtu == 0 {
            desired.mtu
        } else {
            config.cni.mtu
        },
        claimed_by: String::new(),
        closed: None,
        devices: Vec::new(),
        sizes: desired.sizes(config, facts),
        agent_pid: std::process::id(),
    })
}
