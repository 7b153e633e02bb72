//! The device in a sync: its programs, then it is set up.

use std::time::{Duration, Instant};

use super::link;
use crate::{
    datapath::{Datapath, DatapathError},
    model::Owned,
    node::host_device::program::{missing, on},
    subject::Repairs,
};

/// What is known of it.
#[derive(Debug, Default)]
pub struct TunnelPrograms {
    attached: Option<u32>,
    /// Whether a former agent's device may be there.
    unknown: bool,
    /// Since when nothing needs it.
    idle: Option<Instant>,
}

/// How long the device stays when nothing needs it any more: programs remember ways for a second, and other nodes may hear of it
/// later.
const LINGER: Duration = Duration::from_secs(10);

impl TunnelPrograms {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            attached: None,
            unknown: true,
            idle: None,
        }
    }

    /// Attaches the programs to the device with this index, and sets it up.
    pub fn bring(
        &mut self,
        index: u32,
        port: u16,
        datapath: &mut Datapath,
        repairs: &mut Repairs,
    ) -> Result<(), String> {
        self.idle = None;
        self.attach(index, datapath, repairs)
            .map_err(|error| error.to_string())?;
        let changed = link::set_up(port).map_err(|error| format!("{error:#}"))?;
        let (thing, wanted) = ("weir_vxlan up", index.to_string());
        repairs.keep(Owned::TunnelDevice, thing, &wanted, changed);
        Ok(())
    }

    /// Removes the device, which nothing needs any more, after a while.
    pub fn remove(&mut self, datapath: &Datapath) -> Result<(), String> {
        if !self.unknown && self.attached.is_none() {
            return Ok(());
        }
        if self.idle.get_or_insert_with(Instant::now).elapsed() < LINGER {
            return Ok(());
        }
        if link::remove().map_err(|error| format!("remove the tunnel's device: {error}"))? {
            tracing::info!("the tunnel's device removed: every node is reached without");
        }
        if let Some(index) = self.attached {
            datapath
                .detach_interface(index)
                .map_err(|error| error.to_string())?;
        }
        *self = Self {
            attached: None,
            unknown: false,
            idle: None,
        };
        Ok(())
    }

    fn attach(
        &mut self,
        index: u32,
        datapath: &mut Datapath,
        repairs: &mut Repairs,
    ) -> Result<(), DatapathError> {
        let hooks = &Datapath::TUNNEL;
        let lost = missing(datapath, index, hooks);
        if self.attached == Some(index) && lost.is_empty() {
            return Ok(());
        }
        // Made anew: the pins of its former links name nothing any more.
        if let Some(former) = self.attached.take_if(|former| *former != index) {
            datapath.detach_interface(former)?;
        }
        let mode = datapath.attach(index, hooks)?;
        tracing::info!(index, %mode, "programs attached to the tunnel's device");
        if self.attached.replace(index) == Some(index) {
            repairs.repaired(Owned::TunnelPrograms, &on("weir_vxlan", &lost));
        }
        Ok(())
    }
}
