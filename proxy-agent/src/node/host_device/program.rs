//! `weir_host` in a sync: its program, then the routes that lead to it.

use super::{Leads, Led, Published, lead};
use crate::{
    api::messages::HostStatus,
    config::Configuration,
    datapath::{Datapath, DatapathError, Hook},
    model::Owned,
    node::{
        NodeReport,
        facts::Facts,
        routes::{Brought, RouteTable},
        service_ranges::ServiceRanges,
    },
    subject::Repairs,
};

const HOOKS: [Hook; 1] = [Hook::FromHost];

/// What is known of it.
pub struct HostDevice {
    ranges: ServiceRanges,
    attached: Option<u32>,
    elsewhere: Vec<String>,
    status: HostStatus,
}

impl HostDevice {
    /// Nothing yet.
    pub fn new(ranges: &ServiceRanges) -> Self {
        Self {
            ranges: ranges.clone(),
            attached: None,
            elsewhere: Vec::new(),
            status: HostStatus::default(),
        }
    }

    /// What the API server says of the ranges of Services; not asked where they are configured.
    pub fn published(&self, config: &Configuration) -> Published {
        if config.node.service_cidrs.is_empty() {
            self.ranges.published()
        } else {
            Published::Unknown
        }
    }

    /// Whether the API server is still to say.
    pub fn waits(&self, config: &Configuration) -> bool {
        config.node.service_cidrs.is_empty() && self.ranges.published() == Published::Unknown
    }

    /// Attaches the program. Gives what may be led there now that this is done.
    pub fn attach(
        &mut self,
        report: &mut NodeReport,
        datapath: &mut Datapath,
        repairs: &mut Repairs,
    ) -> Result<Option<Leads>, String> {
        self.status.attached = false;
        let Some(index) = report.host_device else {
            return Ok(None);
        };
        self.attach_to(index, datapath, repairs)?;
        self.status.attached = true;
        Ok(report.leads.take())
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

    fn attach_to(
        &mut self,
        index: u32,
        datapath: &mut Datapath,
        repairs: &mut Repairs,
    ) -> Result<(), String> {
        let lost = missing(datapath, index, &HOOKS);
        if self.attached == Some(index) && lost.is_empty() {
            return Ok(());
        }
        let failed = |error: DatapathError| error.to_string();
        // Made anew: the pin of its former link names nothing any more.
        if let Some(former) = self.attached.take_if(|former| *former != index) {
            datapath.detach_interface(former).map_err(failed)?;
        }
        let mode = datapath.attach(index, &HOOKS).map_err(failed)?;
        tracing::info!(index, %mode, "program attached to weir_host");
        if self.attached.replace(index) == Some(index) {
            repairs.repaired(Owned::HostDeviceProgram, &on("weir_host", &lost));
        }
        Ok(())
    }
}

/// Whether an interface still has a program. Where that cannot be told it is attached again, which says why.
pub(in crate::node) fn is_there(datapath: &Datapath, ifindex: u32, hook: Hook) -> bool {
    datapath
        .are_attached(ifindex, &[hook])
        .is_ok_and(|attached| attached)
}

/// Those of these programs that an interface has not.
pub(in crate::node) fn missing(datapath: &Datapath, ifindex: u32, hooks: &[Hook]) -> Vec<Hook> {
    let hooks = hooks.iter().copied();
    hooks
        .filter(|hook| !is_there(datapath, ifindex, *hook))
        .collect()
}

/// Programs of a link, in words.
pub(in crate::node) fn on(link: &str, hooks: &[Hook]) -> String {
    let names: Vec<&str> = hooks.iter().map(|hook| hook.program()).collect();
    let noun = if names.len() == 1 {
        "program"
    } else {
        "programs"
    };
    format!("{noun} {} on {link}", names.join(", "))
}
