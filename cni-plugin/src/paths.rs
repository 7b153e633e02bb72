//! Where plugin and agent meet: files under one folder, which must not outlive a boot.

use std::path::{Path, PathBuf};

use crate::rpc::Key;

/// The folder unless a configuration or the environment says otherwise.
pub const RUN_DIR: &str = "/run/weir";

/// Environment variable that names another folder.
pub const RUN_DIR_ENV: &str = "WEIR_RUN_DIR";

/// Prefix of the host side of every pod's interface.
pub const HOST_IFNAME_PREFIX: &str = "weir";

/// Paths under the run folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self::new(RUN_DIR)
    }
}

impl Paths {
    /// Paths under `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Agent → plugin: what it needs to know of the node ([`crate::node_file::NodeFile`]).
    pub fn node(&self) -> PathBuf {
        self.root.join("node.json")
    }

    /// Agent → plugin: written while the agent lives ([`crate::heartbeat`]).
    pub fn heartbeat(&self) -> PathBuf {
        self.root.join("heartbeat")
    }

    /// The agent's socket for the plugin ([`crate::rpc`]).
    pub fn socket(&self) -> PathBuf {
        self.root.join("cni.sock")
    }

    /// What the plugin has said ([`crate::log`]).
    pub fn log(&self) -> PathBuf {
        self.root.join("cni.log")
    }

    /// Addresses given, written under [`Self::lock`].
    pub fn ipam(&self) -> PathBuf {
        self.root.join("ipam.json")
    }

    /// Locked around every change of the addresses.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// One file per attachment ([`crate::attachment::Attachment`]).
    pub fn attachments(&self) -> PathBuf {
        self.root.join("att")
    }

    /// The file of one attachment. Neither part of a key may hold a `/` or `:` (the protocol forbids it).
    pub fn attachment(&self, key: &Key) -> PathBuf {
        self.attachments().join(file_name(key))
    }

    /// One file per DEL that the agent has not heard of.
    pub fn tombstones(&self) -> PathBuf {
        self.root.join("gone")
    }

    /// The file of one tombstone.
    pub fn tombstone(&self, key: &Key) -> PathBuf {
        self.tombstones().join(file_name(key))
    }
}

/// The key that the name of an attachment's or tombstone's file tells.
pub fn key_of(file: &Path) -> Option<Key> {
    let name = file.file_name()?.to_str()?.strip_suffix(".json")?;
    // A temporary file is no record.
    let (container_id, ifname) = name.split_once(':').filter(|_| !name.starts_with('.'))?;
    Some(Key {
        container_id: container_id.to_owned(),
        ifname: ifname.to_owned(),
    })
}

fn file_name(key: &Key) -> String {
    format!("{}:{}.json", key.container_id, key.ifname)
}
