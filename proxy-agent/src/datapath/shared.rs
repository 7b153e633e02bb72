//! The datapath as several threads use it.
//!
//! One thread exchanges maps, and with them the programs of all that is attached; others attach programs to links and to pods'
//! interfaces, which takes netlink and the kernel's locks, so that it is nothing for the main loop. A program that is attached
//! while another takes the place of all would stay with the maps of before: both hold this lock. Each holds it for one step: to
//! hand the datapath from the one to the other would have a pod wait for a whole look at the node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Datapath;

/// The datapath. Cheap to clone: clones are the same.
#[derive(Clone, Debug)]
pub struct SharedDatapath(Arc<Mutex<Datapath>>);

impl SharedDatapath {
    /// Of a datapath that is open.
    pub fn new(datapath: Datapath) -> Self {
        Self(Arc::new(Mutex::new(datapath)))
    }

    /// For one step.
    pub fn lock(&self) -> MutexGuard<'_, Datapath> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps maps as they are while the node's worker writes them: `NODE_CONFIG`, of which the exchange of maps writes a field too.
/// Cheap to clone: clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<Mutex<()>>);

impl Standing {
    /// Until this is dropped no map is exchanged.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
