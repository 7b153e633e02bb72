//! Programs on pods' interfaces, as [`Pods`](super::Pods) needs them.

use std::collections::BTreeSet;

use crate::datapath::{Datapath, DatapathError};

/// Attaches and detaches the programs of a pod's host-side interface.
pub trait Interfaces {
    /// Attaches the programs, or replaces those that are attached.
    fn attach(&mut self, ifindex: u32) -> Result<(), DatapathError>;
    /// Takes them off; an interface that is gone is no error.
    fn detach(&self, ifindex: u32) -> Result<(), DatapathError>;
    /// Interfaces that have both programs, as far as links tell.
    fn attached(&self) -> Result<BTreeSet<u32>, DatapathError>;
}

impl Interfaces for Datapath {
    fn attach(&mut self, ifindex: u32) -> Result<(), DatapathError> {
        self.attach_pod(ifindex).map(drop)
    }

    fn detach(&self, ifindex: u32) -> Result<(), DatapathError> {
        self.detach_interface(ifindex)
    }

    fn attached(&self) -> Result<BTreeSet<u32>, DatapathError> {
        let (mut once, mut twice) = (BTreeSet::new(), BTreeSet::new());
        for link in self.attachments()?.iter().filter(|a| !a.cgroup) {
            let ifindex = link.target as u32;
            if !once.insert(ifindex) {
                twice.insert(ifindex);
            }
        }
        Ok(twice)
    }
}
