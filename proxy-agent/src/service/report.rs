//! What a sync did, and why it could not.

use std::{collections::BTreeMap, time::Duration};

use super::{key::FrontendKey, owner::Owner};
use crate::{
    datapath::table::TableError,
    model::{Kind, Trigger},
};

/// What a sync did.
#[derive(Clone, Debug, Default)]
pub struct SyncReport {
    /// Kinds whose lists are not complete: nothing is written before they are.
    pub waiting: Vec<Kind>,
    /// Services brought in step.
    pub synced: usize,
    /// Map writes.
    pub writes: usize,
    /// Map writes that failed.
    pub errors: usize,
    /// Who is not in step, and why. Their last good state stays in force; they are tried again.
    pub failed: BTreeMap<Owner, String>,
    /// The changes that were programmed, and when they became known.
    pub programmed: Vec<Programmed>,
    /// Entries that were not as they had been written (full comparison only).
    pub drift: usize,
    /// Something is to be tried again or freed: sync again after this time, even if nothing changes.
    pub again_after: Option<Duration>,
}

/// A change of a Service that has reached the maps.
#[derive(Clone, Debug)]
pub struct Programmed {
    /// From the arrival of the watch event to the last write.
    pub since_event: Duration,
    /// Of the slices: `now - trigger.at` is their family's `network_programming_duration`.
    pub triggers: Vec<Trigger>,
}

/// Why a Service is not in step.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A map refused a write.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The Service does not fit as a whole.
    #[error("{map} has no room: {needed} more entries needed, {free} free of {capacity}")]
    NoRoom {
        /// The map.
        map: String,
        /// Entries needed.
        needed: usize,
        /// Entries free.
        free: usize,
        /// Its capacity.
        capacity: u32,
    },
    /// Somebody else has the address, port and protocol.
    #[error("{key} belongs to {owner} already")]
    Taken {
        /// The frontend.
        key: FrontendKey,
        /// Who has it.
        owner: String,
    },
}

impl ServiceError {
    /// The map that has no room, and how many entries need it.
    pub fn room(&self) -> Option<(String, u32)> {
        match self {
            Self::NoRoom { map, needed, .. } => {
                Some((map.clone(), u32::try_from(*needed).unwrap_or(u32::MAX)))
            }
            Self::Table(TableError::Full { map, .. }) => Some((map.clone(), 1)),
            Self::Table(TableError::Kernel { .. }) | Self::Taken { .. } => None,
        }
    }
}
