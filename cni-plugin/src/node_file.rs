//! `node.json`: what the agent tells the plugin about this node.

use std::{fs, io, path::Path};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::wiring::{device::Device, sizes::Sizes};

/// Contents of `node.json`. Written whole by the agent once it is ready, then on every change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeFile {
    /// `/proc/sys/kernel/random/boot_id` when it was written: another boot's file counts as absent.
    pub boot_id: String,
    /// Name of the Node.
    pub node: String,
    /// Ranges of the node's pods. Addresses are taken from the first of each family.
    pub pod_cidrs: Vec<IpNetwork>,
    /// UID of the Node by which they are claimed (`ipam: cluster`): by it the agent knows its own claim again. Empty: of none.
    pub claimed_by: String,
    /// Why no more addresses may be taken from them.
    pub closed: Option<String>,
    /// Addresses in those ranges that no pod may have (the node's own).
    pub reserved: Vec<std::net::IpAddr>,
    /// MTU of pods' interfaces.
    pub mtu: u32,
    /// Kinds of pairs that pods get: the first that the kernel can make. Empty: as before there was a choice.
    pub devices: Vec<Device>,
    /// How large packets of many segments may be on pods' interfaces.
    pub sizes: Sizes,
    /// Process id of the agent, for people.
    pub agent_pid: u32,
}

impl NodeFile {
    /// Reads the file.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }
}

/// This boot's id; the same in every namespace.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}
