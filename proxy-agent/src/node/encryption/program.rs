//! The device in a sync: its programs, those of a link without Ethernet header; then it is set up.

use super::link;
use crate::{
    datapath::{Datapath, SharedDatapath},
    model::Owned,
    node::device_programs::DevicePrograms,
    subject::Repairs,
    usage::in_full,
};

/// What is known of it.
#[derive(Debug)]
pub struct EncryptionPrograms {
    programs: DevicePrograms,
    /// A former agent's device was looked for.
    looked: bool,
}

impl EncryptionPrograms {
    /// Nothing yet.
    pub(in crate::node) const fn new() -> Self {
        Self {
            programs: DevicePrograms::new(
                "weir_wg",
                &Datapath::BARE_LINK,
                Owned::EncryptionPrograms,
            ),
            looked: false,
        }
    }

    /// Attaches the programs to the device with this index, and sets it up.
    pub fn bring(
        &mut self,
        index: u32,
        port: u16,
        datapath: &SharedDatapath,
        repairs: &mut Repairs,
    ) -> Result<(), String> {
        let attached = self.programs.attach(index, datapath, repairs);
        attached.map_err(|error| error.to_string())?;
        let changed = link::set_up(port).map_err(|error| in_full(&error))?;
        let (thing, wanted) = ("weir_wg up", index.to_string());
        repairs.keep(Owned::EncryptionDevice, thing, &wanted, changed);
        Ok(())
    }

    /// Removes the device, to which nothing leads any more.
    pub fn remove(&mut self, datapath: &SharedDatapath) -> Result<(), String> {
        if self.looked && !self.programs.are_attached() {
            return Ok(());
        }
        if link::remove().map_err(|error| format!("remove the encryption's device: {error}"))? {
            tracing::info!("the encryption's device removed");
        }
        self.looked = true;
        let detached = self.programs.detach(datapath);
        detached.map_err(|error| error.to_string())
    }
}
