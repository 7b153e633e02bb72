//! What is known of Nodes over a restart of the agent: a file in `runDir`, which goes with a restart of the machine. An agent that
//! starts while a Node is gone from the API, or silent about itself, so goes on as the one before would have.

use std::{fs, io, net::IpAddr, path::Path, time::Duration};

use cni_plugin::{clock, ipam::file::write_json, node_file::boot_id};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::model::Node;

/// Name of the file in `runDir`.
pub const KNOWN_NODES: &str = "nodes.json";

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    boot_id: String,
    nodes: Vec<Kept>,
}

/// What leads to a node and its pods, and who had it first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kept {
    /// Name.
    pub name: String,
    created: i64,
    uid: String,
    internal_ips: Vec<IpAddr>,
    addresses: Vec<IpAddr>,
    pod_cidrs: Vec<IpNetwork>,
    claimed: bool,
    spec_pod_cidrs: Vec<IpNetwork>,
    zone: Option<String>,
    routing: Option<String>,
    wireguard_key: Option<String>,
    /// Since when its object is gone, in seconds since boot; none if it is there.
    gone: Option<u64>,
}

impl Kept {
    pub(super) fn of(node: &Node, gone: Option<Duration>) -> Self {
        let node = node.clone();
        Self {
            name: node.name,
            created: node.created,
            uid: node.uid,
            internal_ips: node.internal_ips,
            addresses: node.addresses,
            pod_cidrs: node.pod_cidrs,
            claimed: node.claimed,
            spec_pod_cidrs: node.spec_pod_cidrs,
            zone: node.zone,
            routing: node.routing,
            wireguard_key: node.wireguard_key,
            gone: gone.map(|age| clock::since_boot().saturating_sub(age).as_secs()),
        }
    }

    /// For how long its object has been gone.
    pub(super) fn gone_for(&self) -> Duration {
        let gone = self.gone.map(|since| clock::age(clock::now(), since));
        Duration::from_secs(gone.unwrap_or(0))
    }

    pub(super) fn node(self) -> Node {
        Node {
            name: self.name,
            created: self.created,
            uid: self.uid,
            internal_ips: self.internal_ips,
            addresses: self.addresses,
            pod_cidrs: self.pod_cidrs,
            claimed: self.claimed,
            spec_pod_cidrs: self.spec_pod_cidrs,
            zone: self.zone,
            routing: self.routing,
            wireguard_key: self.wireguard_key,
            ready: true,
            gone: true,
            ..Node::default()
        }
    }
}

/// What was known in this boot. A file that cannot be read is said, and is none.
pub fn read(file: &Path) -> Vec<Kept> {
    let read = || -> io::Result<Document> {
        let text = fs::read(file)?;
        Ok(serde_json::from_slice(&text)?)
    };
    match (read(), boot_id()) {
        (Ok(document), Ok(boot)) if document.boot_id == boot => document.nodes,
        (Ok(_), Ok(_)) => Vec::new(),
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(file = %file.display(), %error, "Nodes not remembered");
            Vec::new()
        }
    }
}

/// Remembers.
pub fn write(file: &Path, nodes: Vec<Kept>) -> io::Result<()> {
    let boot_id = boot_id()?;
    write_json(file, &Document { boot_id, nodes })
}
