//! The datapath as `proxyctl` sees it: from the pins, without loading anything.

use std::path::Path;

use super::{
    error::DatapathError,
    maps::Maps,
    pins::Pins,
    programs::{Attachment, attachments, cgroup},
    schema,
};

/// Maps and attachments of an instance, whether its agent runs or not.
#[derive(Clone, Debug)]
pub struct Reader {
    pins: Pins,
    maps: Maps,
}

impl Reader {
    /// Opens the pinned maps, if they have this version's layout.
    pub fn open(pins: Pins) -> Result<Self, DatapathError> {
        schema::check(&pins)?;
        let maps = Maps::open(&pins)?;
        Ok(Self { pins, maps })
    }

    /// The maps.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// All pinned links.
    pub fn attachments(&self) -> Result<Vec<Attachment>, DatapathError> {
        attachments::list(&self.pins)
    }

    /// Whether the socket programs are attached to a cgroup.
    pub fn has_sockets(&self, cgroup_root: &Path) -> Result<bool, DatapathError> {
        cgroup::are_attached(&self.pins, cgroup_root)
    }
}
