//! Programs on pods' interfaces, as [`Pods`](super::Pods) needs them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use cni_plugin::{
    rpc::Key,
    wiring::{netlink::Netlink, queue},
};

use super::limits::{Side, kernel};
use crate::datapath::{DatapathError, Lifted, Lifter, SharedDatapath, TcMode};

/// Per interface, how it is attached.
pub type Attached = Vec<Result<TcMode, DatapathError>>;

/// Attaches and detaches the programs of a pod's host-side interface.
pub trait Interfaces {
    /// Before the first [`Self::attach`]: puts our programs in the place of a former agent's where that is one step
    /// for all interfaces.
    fn take_over(&self) -> Result<(), DatapathError>;
    /// Attaches the programs of interfaces, or replaces those that are attached, and says per interface what came of
    /// it. Quick: ADDs wait for it.
    fn attach(&mut self, interfaces: &[u32]) -> Result<Attached, DatapathError>;
    /// Takes them off; an interface that is gone is no error.
    fn detach(&self, ifindex: u32) -> Result<(), DatapathError>;
    /// Those of these interfaces that have both programs.
    fn attached(&self, interfaces: &[u32]) -> Result<BTreeMap<u32, TcMode>, DatapathError>;
    /// Puts the limits of interfaces in force, or takes them away; per interface whether something had to be done. What
    /// limits the pod's own packets is only put: [`Self::remove_queue`] takes it away.
    fn limit(&self, sides: &[Side]) -> io::Result<Vec<io::Result<bool>>>;
    /// Removes the queue of what a pod sends; says whether there was one.
    fn remove_queue(&self, key: &Key) -> io::Result<bool>;
    /// Removes all queues but those with these names.
    fn remove_queues(&self, keep: &BTreeSet<String>) -> io::Result<()>;
    /// What lifts interfaces to TCX, if that is wanted.
    fn lifter(&self) -> Result<Option<Arc<dyn Lift>>, DatapathError>;
}

/// Lifts interfaces from clsact to TCX. Slow: for a thread of its own.
pub trait Lift: Send + Sync {
    /// Lifts one. `go_on` is asked before each wait.
    fn lift(&self, ifindex: u32, go_on: &dyn Fn() -> bool) -> Result<Lifted, DatapathError>;
}

impl Interfaces for SharedDatapath {
    fn take_over(&self) -> Result<(), DatapathError> {
        self.lock().replace_blocks()
    }

    fn attach(&mut self, interfaces: &[u32]) -> Result<Attached, DatapathError> {
        self.lock().attach_pods(interfaces)
    }

    fn detach(&self, ifindex: u32) -> Result<(), DatapathError> {
        self.lock().detach_interface(ifindex)
    }

    fn attached(&self, interfaces: &[u32]) -> Result<BTreeMap<u32, TcMode>, DatapathError> {
        self.lock().attached_pods(interfaces)
    }

    fn limit(&self, sides: &[Side]) -> io::Result<Vec<io::Result<bool>>> {
        kernel::limit(sides)
    }

    fn remove_queue(&self, key: &Key) -> io::Result<bool> {
        queue::remove(&mut Netlink::open()?, key)
    }

    fn remove_queues(&self, keep: &BTreeSet<String>) -> io::Result<()> {
        kernel::remove_queues(keep)
    }

    fn lifter(&self) -> Result<Option<Arc<dyn Lift>>, DatapathError> {
        let lifter = self.lock().lifter();
        Ok(lifter.map(|lifter| Arc::new(lifter) as Arc<dyn Lift>))
    }
}

impl Lift for Lifter {
    fn lift(&self, ifindex: u32, go_on: &dyn Fn() -> bool) -> Result<Lifted, DatapathError> {
        Self::lift(self, ifindex, go_on)
    }
}
