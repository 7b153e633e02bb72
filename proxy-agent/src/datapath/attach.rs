//! Attachment: our programs on the cgroup root and on interfaces.

use std::collections::BTreeMap;

use super::{
    Attachment, Datapath, DatapathError, Hook, Lifter, Pins, TcMode, TcPreference,
    programs::{self, blocks::Blocks},
};

impl Datapath {
    /// Hooks of a link that carries node traffic. What undoes translations comes before what makes them.
    pub const LINK: [Hook; 2] = [Hook::ToNet, Hook::FromNet];
    /// Hooks of such a link whose frames have no Ethernet header.
    pub const BARE_LINK: [Hook; 2] = [Hook::ToNetBare, Hook::FromNetBare];

    /// Hooks of the tunnel's device.
    pub const TUNNEL: [Hook; 2] = [Hook::ToTunnel, Hook::FromTunnel];

    /// Attaches the socket programs to the cgroup root, or replaces those that are attached.
    pub fn attach_sockets(&self) -> Result<(), DatapathError> {
        programs::cgroup::attach(&self.ebpf, &self.pins, &self.config.cgroup_root)
    }

    /// Attaches the socket programs again if someone took one off; names those.
    pub fn mend_sockets(&self) -> Result<Vec<&'static str>, DatapathError> {
        let missing = programs::cgroup::missing(&self.pins, &self.config.cgroup_root)?;
        if !missing.is_empty() {
            self.attach_sockets()?;
        }
        Ok(missing)
    }

    /// Puts our programs in the place of those that an earlier agent left in the blocks of pods' interfaces of the
    /// calling thread's network namespace: once, before the first [`Self::attach_pod`].
    pub fn replace_blocks(&self) -> Result<(), DatapathError> {
        self.blocks.replace(&self.ebpf)
    }

    /// Attaches the programs of pods' host-side interfaces, or replaces those that are attached. Interfaces are
    /// looked up in the calling thread's network namespace. Quick, so by clsact at first; see [`Lifter`].
    pub fn attach_pods(
        &mut self,
        interfaces: &[u32],
    ) -> Result<Vec<Result<TcMode, DatapathError>>, DatapathError> {
        let (pins, blocks) = (&self.pins, self.blocks);
        programs::lift::attach(&mut self.ebpf, pins, blocks, interfaces, self.config.tc)
    }

    /// Those of these interfaces that have both programs of a pod, and how.
    pub fn attached_pods(
        &self,
        interfaces: &[u32],
    ) -> Result<BTreeMap<u32, TcMode>, DatapathError> {
        programs::lift::attached(&self.pins, self.blocks, interfaces)
    }

    /// Lifts interfaces of pods to TCX; nothing if clsact is preferred.
    pub fn lifter(&self) -> Option<Lifter> {
        match self.config.tc {
            TcPreference::Auto | TcPreference::Tcx => Some(self.lifter.clone()),
            TcPreference::Clsact => None,
        }
    }

    /// Attaches the programs of these hooks to an interface, or replaces those that are attached.
    pub fn attach(&mut self, ifindex: u32, hooks: &[Hook]) -> Result<TcMode, DatapathError> {
        let mut mode = TcMode::Tcx;
        for hook in hooks {
            let (ebpf, tc) = (&mut self.ebpf, self.config.tc);
            mode = programs::interface::attach(ebpf, &self.pins, *hook, ifindex, tc)?;
        }
        Ok(mode)
    }

    /// Attaches the program of the entry of a pod's queue, or replaces the one that is attached. By clsact: it is to go with the
    /// interface, and nobody else has anything to do there.
    pub fn attach_queue(&mut self, entry: u32) -> Result<(), DatapathError> {
        let (ebpf, pins) = (&mut self.ebpf, &self.pins);
        let by = TcPreference::Clsact;
        programs::interface::attach(ebpf, pins, Hook::ToQueue, entry, by).map(drop)
    }

    /// Whether the programs of these hooks are on an interface, whichever way they were attached.
    pub fn are_attached(&self, ifindex: u32, hooks: &[Hook]) -> Result<bool, DatapathError> {
        for hook in hooks {
            if !programs::interface::is_attached(&self.pins, *hook, ifindex)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes our tc programs off an interface. One that is gone, or has none, is no error.
    pub fn detach_interface(&self, ifindex: u32) -> Result<(), DatapathError> {
        programs::interface::detach(&self.pins, self.blocks, ifindex)
    }

    /// Attaches the XDP program to an interface, or replaces the one that is attached.
    pub fn attach_xdp(&mut self, ifindex: u32) -> Result<(), DatapathError> {
        programs::xdp::attach(&mut self.ebpf, &self.pins, ifindex)
    }

    /// Whether the XDP program is on an interface.
    pub fn has_xdp(&self, ifindex: u32) -> Result<bool, DatapathError> {
        programs::xdp::is_attached(&self.pins, ifindex)
    }

    /// Takes the XDP program off an interface; says whether it was there.
    pub fn detach_xdp(&self, ifindex: u32) -> Result<bool, DatapathError> {
        programs::xdp::detach(&self.pins, ifindex)
    }

    /// All pinned links.
    pub fn attachments(&self) -> Result<Vec<Attachment>, DatapathError> {
        programs::attachments::list(&self.pins)
    }

    /// Unpins links whose interface or cgroup is gone; returns their names.
    pub fn sweep(&self) -> Result<Vec<String>, DatapathError> {
        programs::attachments::sweep(&self.pins)
    }
}

/// Takes our tc programs off these interfaces, loading nothing: for the clean-up. Goes on after errors.
pub fn detach_all(
    pins: &Pins,
    instance: &str,
    interfaces: impl IntoIterator<Item = u32>,
) -> Vec<DatapathError> {
    let blocks = Blocks::of(instance);
    let interfaces = interfaces.into_iter();
    let results = interfaces.map(|ifindex| programs::interface::detach(pins, blocks, ifindex));
    results.filter_map(Result::err).collect()
}
