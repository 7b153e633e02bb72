//! What a sync did, and why it could not.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    datapath::table::TableError,
    model::{Kind, ObjectName},
};

/// What a sync did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyReport {
    /// Kinds whose lists are not complete: nothing is committed before they are.
    pub waiting: Vec<Kind>,
    /// Policies that could not be compiled whole, and why. Their last good version stays in force.
    pub refused: BTreeMap<ObjectName, String>,
    /// Endpoints that are denied everything, because their pod is not known yet or has no good policy.
    pub denied: BTreeMap<u32, String>,
    /// Endpoints whose word was stored.
    pub committed: usize,
    /// Map writes other than cells and words.
    pub writes: usize,
    /// Endpoints whose epoch began anew: the flows of their scope must be removed.
    pub wrapped: Vec<u32>,
    /// Entries that a full comparison found not as they were left.
    pub drift: usize,
    /// Why not all of that could be set right: what could not denies. Verify again soon.
    pub broken: Option<String>,
    /// What is used of what there is.
    pub usage: Usage,
    /// Something waits to be freed: sync again after this time, even if nothing changes.
    pub again_after: Option<Duration>,
}

/// What is used of what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Classes.
    pub classes: usize,
    /// Rows.
    pub rows: usize,
    /// Cells that rows occupy.
    pub cells: u32,
    /// Capacity of `POLICY_CELLS`.
    pub cells_capacity: u32,
    /// Blocks of `INTERVALS` in use.
    pub blocks: u32,
    /// Capacity of `INTERVALS`.
    pub blocks_capacity: u32,
    /// Exact addresses.
    pub peers: usize,
    /// Prefixes.
    pub cidrs: usize,
}

/// Why a sync failed. The state before stays in force; the next sync goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A map refused.
    #[error("policy: {0}")]
    Table(#[from] TableError),
    /// The compiled policy does not fit.
    #[error("policy: {map} has no room: {needed} needed, {free} free of {capacity}")]
    NoRoom {
        /// The map.
        map: &'static str,
        /// Cells or blocks needed.
        needed: u32,
        /// Cells or blocks free.
        free: u32,
        /// Its capacity.
        capacity: u32,
    },
    /// An endpoint id without a word.
    #[error("policy: endpoint {pod} has id {id}, POLICY_WORDS has room for ids 1 to {last}")]
    EndpointId {
        /// The id.
        id: u32,
        /// The pod.
        pod: ObjectName,
        /// Highest id.
        last: u32,
    },
}

impl PolicyError {
    /// The map that has no room, and how many entries need it.
    pub fn room(&self) -> Option<(String, u32)> {
        match self {
            Self::NoRoom { map, needed, .. } => Some(((*map).to_owned(), *needed)),
            Self::Table(TableError::Full { map, .. }) => Some((map.clone(), 1)),
            Self::Table(TableError::Kernel { .. }) | Self::EndpointId { .. } => None,
        }
    }
}
