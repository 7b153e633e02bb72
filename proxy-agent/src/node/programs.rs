//! Programs on all that carries node traffic: links, devices of ours, the cgroup of sockets.

use super::{
    NodeReport, encryption::program::EncryptionPrograms, host_device::program::HostDevice,
    links::programs::LinkPrograms, tunnel::program::TunnelPrograms,
};
use crate::{config::Configuration, datapath::SharedDatapath, model::Owned, subject::Repairs};

/// What is known of them.
pub(super) struct NodePrograms {
    pub(super) links: LinkPrograms,
    pub(super) host: HostDevice,
    pub(super) tunnel: TunnelPrograms,
    pub(super) encryption: EncryptionPrograms,
}

impl NodePrograms {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            links: LinkPrograms::default(),
            host: HostDevice::new(),
            tunnel: TunnelPrograms::new(),
            encryption: EncryptionPrograms::new(),
        }
    }

    /// Brings them in step with what a look found; returns what failed. What is to be led to `weir_host` stays in the report if it may
    /// be, now that its program is there.
    pub(super) fn bring(
        &mut self,
        report: &mut NodeReport,
        config: &Configuration,
        datapath: &SharedDatapath,
        repairs: &mut Repairs,
    ) -> Vec<String> {
        let lost = datapath.lock().lost_pins();
        if lost.is_some() {
            repairs.gather();
        }
        let mut errors = Vec::new();
        // Before links are pinned beside.
        errors.extend(mend_pins(datapath, repairs).err());
        if let Some(links) = &report.links {
            let notes = std::mem::take(&mut report.notes);
            let to = (datapath, &mut *repairs);
            let failed = self
                .links
                .bring(links, &report.facts, notes, config.xdp, to);
            errors.extend(failed);
        }
        if let Some(index) = report.tunnel_device {
            let port = config.tunnel.port;
            let brought = self.tunnel.bring(index, port, datapath, repairs);
            let wanted = report.tunnel.as_ref().is_some_and(|tunnel| tunnel.wanted);
            // Somebody else may have the port, as long as nothing needs it.
            errors.extend(brought.err().filter(|_| wanted));
        }
        if let Some(index) = report.encryption_device {
            let port = config.encryption.port;
            let brought = self.encryption.bring(index, port, datapath, repairs);
            errors.extend(brought.err());
        }
        errors.extend(mend_sockets(datapath, repairs).err());
        let attached = self.host.attach(report.host_device, datapath, repairs);
        if let Some(lost) = lost {
            repairs.gathered(|many| lost.words(many));
        }
        if !matches!(attached, Ok(true)) {
            report.leads = None;
        }
        errors.extend(attached.err());
        errors
    }
}

/// Puts back the programs that somebody took from the cgroup.
fn mend_sockets(datapath: &SharedDatapath, repairs: &mut Repairs) -> Result<(), String> {
    for program in datapath
        .lock()
        .mend_sockets()
        .map_err(|error| error.to_string())?
    {
        let thing = format!("program {program} on the cgroup");
        repairs.repaired(Owned::SocketPrograms, &thing);
    }
    Ok(())
}

/// Pins maps again that somebody has unpinned.
fn mend_pins(datapath: &SharedDatapath, repairs: &mut Repairs) -> Result<(), String> {
    for map in datapath
        .lock()
        .mend_pins()
        .map_err(|error| error.to_string())?
    {
        repairs.repaired(Owned::MapPins, &format!("pin of {map}"));
    }
    Ok(())
}
