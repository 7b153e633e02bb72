//! `att/CONTAINER:IFNAME.json`: the record of one attachment, kept from before its interface is made until
//! after it is gone. The agent reads these to know its endpoints again after a restart.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    rpc::{Add, Key},
    wiring::device::Device,
};

/// How far an attachment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// ADD is at work, or died at it.
    #[default]
    Creating,
    /// Wired and taken in.
    Ready,
}

/// Records that could not be read, and why.
pub type Broken = Vec<(std::path::PathBuf, io::Error)>;

/// One attachment. Everything that [`Add`] says, so that it can be said again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attachment {
    /// How far it is.
    pub state: State,
    /// Boot that it belongs to.
    pub boot_id: String,
    /// When ADD began, seconds since boot ([`crate::clock`]).
    pub since: u64,
    /// When ADD gives up, seconds since boot; 0 if unknown.
    pub until: u64,
    /// Which ADD of the key this is: process id and nanoseconds since boot.
    pub attempt: (u32, u64),
    /// It is not the container's first interface: its routes stand beside those of another.
    pub beside: bool,
    /// MTU that its interfaces were given, 0 if unknown.
    pub mtu: u32,
    /// What its pair is; of a record that does not tell, what all were then.
    pub device: Device,
    /// Device and inode of the network namespace's file, 0 until known.
    pub netns_id: (u64, u64),
    /// The rest.
    #[serde(flatten)]
    pub add: Add,
}

impl Attachment {
    /// Container and interface.
    pub const fn key(&self) -> &Key {
        &self.add.key
    }

    /// Reads one record.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// Reads all records of a folder, which may be absent. Unreadable ones are returned beside.
    pub fn read_all(folder: &Path) -> io::Result<(Vec<Self>, Broken)> {
        let (mut records, mut broken) = (Vec::new(), Vec::new());
        let entries = match fs::read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((records, broken)),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            match Self::read(&path) {
                Ok(record) => records.push(record),
                // Removed by a DEL since the folder was read.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => broken.push((path, e)),
            }
        }
        Ok((records, broken))
    }
}
