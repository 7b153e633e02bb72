//! Names and folders of the cluster on one machine.
//!
//! `fabric` is a network namespace with a bridge: it holds the control plane and clients from outside the cluster.
//! A node is a network, a mount and a uts namespace, and a cgroup subtree.

use std::fs;
use std::path::{Path, PathBuf};

use super::shape::Shape;
use crate::paths;
use anyhow::{Context as _, Result, bail};

/// Port of the API server on the fabric.
pub(crate) const API_PORT: u16 = 6443;
/// Most nodes that the addresses allow for.
pub(crate) const MAX_NODES: u8 = 9;

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

    /// Its zone: one of three, so that six nodes make three zones of two, which upstream's tests of traffic distribution want.
    pub(crate) fn zone(self) -> String {
        format!("zone-{}", (self.0 - 1) % 3 + 1)
    }

    /// Its subtree in every cgroup hierarchy.
    pub(crate) fn cgroup(self) -> String {
        format!("lab-{}", self.name())
    }
}
