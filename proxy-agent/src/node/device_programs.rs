//! Programs on a device of ours, whichever it is: attached before anything leads to it, and again when somebody took them.

use crate::{
    datapath::{DatapathError, Hook, SharedDatapath},
    model::Owned,
    subject::Repairs,
};

/// What is known of a device's programs.
#[derive(Debug)]
pub(super) struct DevicePrograms {
    device: &'static str,
    hooks: &'static [Hook],
    what: Owned,
    /// Index of the device that has them.
    attached: Option<u32>,
}

impl DevicePrograms {
    /// Those of a device, by its name, none of which is known to be attached.
    pub(super) const fn new(device: &'static str, hooks: &'static [Hook], what: Owned) -> Self {
        Self {
            device,
            hooks,
            what,
            attached: None,
        }
    }

    /// Whether they were attached.
    pub(super) const fn are_attached(&self) -> bool {
        self.attached.is_some()
    }

    /// Attaches those that the device with this index lacks.
    pub(super) fn attach(
        &mut self,
        index: u32,
        datapath: &SharedDatapath,
        repairs: &mut Repairs,
    ) -> Result<(), DatapathError> {
        let lost = missing(datapath, index, self.hooks);
        if self.attached == Some(index) && lost.is_empty() {
            return Ok(());
        }
        // Made anew: the pins of its former links name nothing any more.
        if self.attached.is_some_and(|former| former != index) {
            self.detach(datapath)?;
        }
        let mode = datapath.lock().attach(index, self.hooks)?;
        let device = self.device;
        tracing::info!(index, %mode, "programs attached to {device}");
        if self.attached.replace(index) == Some(index) {
            repairs.repaired(self.what, &on(device, &lost));
        }
        Ok(())
    }

    /// Takes them off the device, which may be gone.
    pub(super) fn detach(&mut self, datapath: &SharedDatapath) -> Result<(), DatapathError> {
        if let Some(index) = self.attached {
            datapath.lock().detach_interface(index)?;
        }
        self.attached = None;
        Ok(())
    }
}

/// Whether an interface still has a program. Where that cannot be told it is attached again, which says why.
pub(super) fn is_there(datapath: &SharedDatapath, ifindex: u32, hook: Hook) -> bool {
    let attached = datapath.lock().are_attached(ifindex, &[hook]);
    attached.is_ok_and(|attached| attached)
}

/// Those of these programs that an interface has not.
pub(super) fn missing(datapath: &SharedDatapath, ifindex: u32, hooks: &[Hook]) -> Vec<Hook> {
    let hooks = hooks.iter().copied();
    hooks
        .filter(|hook| !is_there(datapath, ifindex, *hook))
        .collect()
}

/// Programs of a link, in words.
pub(super) fn on(link: &str, hooks: &[Hook]) -> String {
    let names: Vec<&str> = hooks.iter().map(|hook| hook.program()).collect();
    let noun = if names.len() == 1 {
        "program"
    } else {
        "programs"
    };
    format!("{noun} {} on {link}", names.join(", "))
}
