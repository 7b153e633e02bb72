//! The datapath as `proxyctl` sees it: from the pins, without loading anything.

use std::path::Path;

use super::{
    error::DatapathError,
    maps::Maps,
    pins::Pins,
    programs::{Attachment, Hook, attachments, cgroup, interface},
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

    /// The socket programs that are not attached to a cgroup.
    pub fn missing_sockets(&self, cgroup_root: &Path) -> Result<Vec<&'static str>, DatapathError> {
        cgroup::missing(&self.pins, cgroup_root)
    }

    /// Those of these programs that are not on an interface of the calling thread's network namespace.
    pub fn missing(
        &self,
        ifindex: u32,
        hooks: &[Hook],
    ) -> Result<Vec<&'static str>, DatapathError> {
        let mut missing = Vec::new();
        for hook in hooks {
            if !interface::is_attached(&self.pins, *hook, ifindex)? {
                missing.push(hook.program());
            }
        }
        Ok(missing)
    }
}
