//! Names, addresses and folders of the cluster on one machine.
//!
//! `fabric` is a network namespace with a bridge: it holds the control plane and clients from outside the cluster.
//! A node is a network, a mount and a uts namespace, and a cgroup subtree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::paths;

/// The control plane's address on the fabric, the nodes' gateway.
pub(crate) const FABRIC_V4: &str = "172.30.0.1";
/// The same in IPv6.
pub(crate) const FABRIC_V6: &str = "fd30::1";
/// Port of the API server on the fabric.
pub(crate) const API_PORT: u16 = 6443;
/// Address of the cluster's DNS Service.
pub(crate) const DNS_VIP: &str = "10.96.0.10";
/// Ranges of Services.
pub(crate) const SERVICE_CIDRS: &str = "10.96.0.0/16,fd00:10:96::/112";
/// Ranges of pods, a /24 and a /64 for each node.
pub(crate) const CLUSTER_CIDRS: &str = "10.244.0.0/16,fd00:10:244::/56";
/// Most nodes that the addresses allow for.
pub(crate) const MAX_NODES: u8 = 9;

/// Which proxy and network the cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Proxy {
    /// Weir as the only network.
    Weir,
    /// kube-proxy in nftables mode and the reference CNI plugins: the yardstick.
    KubeProxy,
}

/// What stands between `up` and `down`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// Number of nodes.
    pub(crate) nodes: u8,
    /// The network.
    pub(crate) proxy: Proxy,
}

/// The folder that holds everything of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    /// The folder.
    pub(crate) folder: PathBuf,
}

impl Lab {
    /// The one cluster of this user.
    pub(crate) fn open() -> Result<Self> {
        Ok(Self {
            folder: paths::cache()?.join("cluster"),
        })
    }

    /// A file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A file of a node.
    pub(crate) fn node_file(&self, node: Node, name: &str) -> PathBuf {
        self.folder.join(node.name()).join(name)
    }

    /// Where namespaces are held by bind mounts.
    pub(crate) fn namespaces(&self) -> PathBuf {
        self.file("ns")
    }

    /// The administrator's kubeconfig inside the fabric.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.file("fabric.kubeconfig")
    }

    /// The shape, if a cluster is up (or half up).
    pub(crate) fn shape(&self) -> Result<Option<Shape>> {
        let path = self.file("shape.json");
        match fs::read(&path) {
            Ok(bytes) => {
                Ok(Some(serde_json::from_slice(&bytes).with_context(|| {
                    format!("cannot read {}", path.display())
                })?))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The shape of the cluster that must be up.
    pub(crate) fn must_be_up(&self) -> Result<Shape> {
        match self.shape()? {
            Some(shape) => Ok(shape),
            None => {
                bail!(anyhow::anyhow!("no cluster is up").context("hint: cargo xtask cluster up"))
            }
        }
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot create {}", parent.display()))?;
        }
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A node, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node(pub(crate) u8);

impl Node {
    /// Its name: `n1`.
    pub(crate) fn name(self) -> String {
        format!("n{}", self.0)
    }

    /// Its address on the fabric: `172.30.0.11`.
    pub(crate) fn ipv4(self) -> String {
        format!("172.30.0.{}", 10 + self.0)
    }

    /// The same in IPv6: `fd30::11`.
    pub(crate) fn ipv6(self) -> String {
        format!("fd30::{}", 10 + self.0)
    }

    /// Its zone: one of three, so that six nodes make three zones of two, which upstream's tests of traffic distribution want.
    pub(crate) fn zone(self) -> String {
        format!("zone-{}", (self.0 - 1) % 3 + 1)
    }

    /// Its subtree in every cgroup hierarchy.
    pub(crate) fn cgroup(self) -> String {
        format!("lab-{}", self.name())
    }
}

impl Shape {
    /// The nodes.
    pub(crate) fn all(self) -> impl Iterator<Item = Node> {
        (1..=self.nodes).map(Node)
    }
}
