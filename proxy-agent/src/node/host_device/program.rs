//! `weir_host` in a sync: its program, then the routes that lead to it.

use super::{Leads, Led, lead};
use crate::{
    api::messages::HostStatus,
    datapath::{Hook, SharedDatapath},
    model::Owned,
    node::{
        device_programs::DevicePrograms,
        facts::Facts,
        routes::{Brought, RouteTable},
    },
    subject::Repairs,
};

const HOOKS: [Hook; 1] = [Hook::FromHost];

/// What is known of it.
pub struct HostDevice {
    programs: DevicePrograms,
    elsewhere: Vec<String>,
    status: HostStatus,
}

impl Default for HostDevice {
    fn default() -> Self {
        Self::new()
    }
}

impl HostDevice {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            programs: DevicePrograms::new("weir_host", &HOOKS, Owned::HostDeviceProgram),
            elsewhere: Vec::new(),
            status: HostStatus::default(),
        }
    }

    /// Attaches the program to the device with this index, if there is one; whether it is there.
    pub fn attach(
        &mut self,
        index: Option<u32>,
        datapath: &SharedDatapath,
        repairs: &mut Repairs,
    ) -> Result<bool, String> {
        self.status.attached = false;
        let Some(index) = index else {
            return Ok(false);
        };
        let attached = self.programs.attach(index, datapath, repairs);
        attached.map_err(|error| error.to_string())?;
        self.status.attached = true;
        Ok(true)
    }

    /// Leads Services' addresses there.
    pub fn lead(
        &mut self,
        table: &mut RouteTable,
        leads: &Leads,
        facts: &Facts,
        complete: bool,
    ) -> Brought {
        let Led { brought, elsewhere } = lead(table, leads, facts, complete);
        for one in elsewhere.iter().filter(|one| !self.elsewhere.contains(one)) {
            tracing::warn!(
                "the host reaches some Services past weir_host: {one}, which stays as it is"
            );
        }
        self.status.ranges = leads
            .ranges
            .ranges
            .iter()
            .map(ToString::to_string)
            .collect();
        leads.ranges.source.clone_into(&mut self.status.source);
        self.status.elsewhere.clone_from(&elsewhere);
        self.elsewhere = elsewhere;
        brought
    }

    /// For the status.
    pub fn status(&self) -> HostStatus {
        self.status.clone()
    }
}
