//! The device in a sync: its programs, then it is set up.

use std::time::{Duration, Instant};

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
pub struct TunnelPrograms {
    programs: DevicePrograms,
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
    pub(in crate::node) const fn new() -> Self {
        Self {
            programs: DevicePrograms::new("weir_vxlan", &Datapath::TUNNEL, Owned::TunnelPrograms),
            unknown: true,
            idle: None,
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
        self.idle = None;
        let attached = self.programs.attach(index, datapath, repairs);
        attached.map_err(|error| error.to_string())?;
        let changed = link::set_up(port).map_err(|error| in_full(&error))?;
        let (thing, wanted) = ("weir_vxlan up", index.to_string());
        repairs.keep(Owned::TunnelDevice, thing, &wanted, changed);
        Ok(())
    }

    /// Removes the device, which nothing needs any more, after a while.
    pub fn remove(&mut self, datapath: &SharedDatapath) -> Result<(), String> {
        if !self.unknown && !self.programs.are_attached() {
            return Ok(());
        }
        if self.idle.get_or_insert_with(Instant::now).elapsed() < LINGER {
            return Ok(());
        }
        if link::remove().map_err(|error| format!("remove the tunnel's device: {error}"))? {
            tracing::info!("the tunnel's device removed: every node is reached without");
        }
        let detached = self.programs.detach(datapath);
        detached.map_err(|error| error.to_string())?;
        (self.unknown, self.idle) = (false, None);
        Ok(())
    }
}
