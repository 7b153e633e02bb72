//! The device in a sync: its programs, those of a link without Ethernet header; then it is set up.

use super::link;
use crate::{
    datapath::{Datapath, DatapathError},
    model::Owned,
    node::host_device::program::{missing, on},
    subject::Repairs,
};

/// What is known of it.
#[derive(Debug, Default)]
pub struct EncryptionPrograms {
    attached: Option<u32>,
    /// A former agent's device was looked for.
    looked: bool,
}

impl EncryptionPrograms {
    /// Attaches the programs to the device with this index, and sets it up.
    pub fn bring(
        &mut self,
        index: u32,
        port: u16,
        datapath: &mut Datapath,
        repairs: &mut Repairs,
    ) -> Result<(), String> {
        self.attach(index, datapath, repairs)
            .map_err(|error| error.to_string())?;
        let changed = link::set_up(port).map_err(|error| format!("{error:#}"))?;
        let (thing, wanted) = ("weir_wg up", index.to_string());
        repairs.keep(Owned::EncryptionDevice, thing, &wanted, changed);
        Ok(())
    }

    /// Removes the device, to which nothing leads any more.
    pub fn remove(&mut self, datapath: &Datapath) -> Result<(), String> {
        if self.looked && self.attached.is_none() {
            return Ok(());
        }
        if link::remove().map_err(|error| format!("remove the encryption's device: {error}"))? {
            tracing::info!("the encryption's device removed");
        }
        self.looked = true;
        if let Some(index) = self.attached.take() {
            datapath
                .detach_interface(index)
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn attach(
        &mut self,
        index: u32,
        datapath: &mut Datapath,
        repairs: &mut Repairs,
    ) -> Result<(), DatapathError> {
        let hooks = &Datapath::BARE_LINK;
        let lost = missing(datapath, index, hooks);
        if self.attached == Some(index) && lost.is_empty() {
            return Ok(());
        }
        // Made anew: the pins of its former links name nothing any more.
        if let Some(former) = self.attached.take_if(|former| *former != index) {
            datapath.detach_interface(former)?;
        }
        let mode = datapath.attach(index, hooks)?;
        tracing::info!(index, %mode, "programs attached to the encryption's device");
        if self.attached.replace(index) == Some(index) {
            repairs.repaired(Owned::EncryptionPrograms, &on("weir_wg", &lost));
        }
        Ok(())
    }
}
