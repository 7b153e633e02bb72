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

use proxy_common::pace::Pace;

use super::limits::{Done, Side, kernel};
use crate::datapath::{
    DatapathError, Hook, KernelTable, Lifted, Lifter, SharedDatapath, TcMode, bpfsys,
};

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
    /// Whether an interface is there.
    fn is_there(&self, ifindex: u32) -> bool;
    /// Takes them off; an interface that is gone is no error.
    fn detach(&self, ifindex: u32) -> Result<(), DatapathError>;
    /// Those of these interfaces that have both programs.
    fn attached(&self, interfaces: &[u32]) -> Result<BTreeMap<u32, TcMode>, DatapathError>;
    /// Puts the limits of interfaces in force, or takes them away; per interface what came of it. What limits the pod's own
    /// packets is only put: [`Self::remove_queue`] takes it away.
    fn limit(&self, sides: &[Side]) -> io::Result<Vec<io::Result<Done>>>;
    /// Attaches the program that gives packets times of departure at the entry of a queue, or replaces it.
    fn attach_entry(&mut self, entry: u32) -> Result<(), DatapathError>;
    /// Whether it is there.
    fn has_entry(&self, entry: u32) -> Result<bool, DatapathError>;
    /// Of an interface that is gone: removes its queue, and what programs know of its limits.
    fn forget_limits(&self, key: &Key, ifindex: u32) -> io::Result<()>;
    /// Forgets what programs know of limits, but for these interfaces.
    fn keep_paces(&self, keep: &dyn Fn(u32) -> bool) -> io::Result<()>;
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

    fn is_there(&self, ifindex: u32) -> bool {
        bpfsys::interface_name(ifindex).is_ok()
    }

    fn detach(&self, ifindex: u32) -> Result<(), DatapathError> {
        self.lock().detach_interface(ifindex)
    }

    fn attached(&self, interfaces: &[u32]) -> Result<BTreeMap<u32, TcMode>, DatapathError> {
        self.lock().attached_pods(interfaces)
    }

    fn limit(&self, sides: &[Side]) -> io::Result<Vec<io::Result<Done>>> {
        // A copy: netlink is not for who holds the lock.
        let mut paces = paces(self);
        kernel::limit(sides, &mut paces)
    }

    fn attach_entry(&mut self, entry: u32) -> Result<(), DatapathError> {
        self.lock().attach_queue(entry)
    }

    fn has_entry(&self, entry: u32) -> Result<bool, DatapathError> {
        self.lock().are_attached(entry, &[Hook::ToQueue])
    }

    fn forget_limits(&self, key: &Key, ifindex: u32) -> io::Result<()> {
        let own = [ifindex, queue::entry(ifindex)];
        kernel::keep_paces(&mut paces(self), |at| !own.contains(&at))?;
        self.remove_queue(key).map(drop)
    }

    fn keep_paces(&self, keep: &dyn Fn(u32) -> bool) -> io::Result<()> {
        kernel::keep_paces(&mut paces(self), keep)
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

fn paces(datapath: &SharedDatapath) -> KernelTable<u32, Pace> {
    datapath.lock().maps().paces.clone()
}

impl Lift for Lifter {
    fn lift(&self, ifindex: u32, go_on: &dyn Fn() -> bool) -> Result<Lifted, DatapathError> {
        Self::lift(self, ifindex, go_on)
    }
}
