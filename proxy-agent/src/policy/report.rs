//! What a sync did, and why it could not.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::Direction;
use crate::{
    datapath::table::TableError,
    model::{Kind, ObjectName},
};

/// What a sync did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyReport {
    /// Kinds whose lists are not complete: nothing is committed before they are.
    pub waiting: Vec<Kind>,
    /// Policies that wait for room in maps that may still grow. For pods that were there before, each is as it was.
    pub waits: BTreeMap<ObjectName, Refusal>,
    /// Everything stays as it is until maps have grown, and why.
    pub standstill: Option<String>,
    /// Policies for which a map has no room.
    pub refused: BTreeMap<ObjectName, Refusal>,
    /// Those maps, and how many entries more they need at the least.
    pub wanting: BTreeMap<&'static str, u32>,
    /// Endpoints that are denied everything, because their pod is not known yet.
    pub unknown: BTreeMap<u32, String>,
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

/// A policy that could not be programmed, and who is denied everything for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Which map has no room.
    pub why: String,
    /// The pods of this node that it selects, and in which direction.
    pub closed: Vec<(ObjectName, Direction)>,
}

/// So many pods are named.
const NAMED: usize = 8;

impl Refusal {
    /// Nobody is denied anything yet.
    pub fn new(why: &str) -> Self {
        Self {
            why: why.to_owned(),
            closed: Vec::new(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { why, closed } = self;
        f.write_str(why)?;
        if closed.is_empty() {
            return Ok(());
        }
        f.write_str("; denied meanwhile: ")?;
        let said = |(pod, direction): &(ObjectName, Direction)| format!("{direction} of {pod}");
        let some: Vec<_> = closed.iter().take(NAMED).map(said).collect();
        f.write_str(&some.join(", "))?;
        match closed.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
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
    #[error("{map} has no room: {needed} more needed, {free} of {capacity} free")]
    NoRoom {
        /// The map.
        map: &'static str,
        /// Cells, blocks or prefixes needed.
        needed: u32,
        /// Of them free.
        free: u32,
        /// Its capacity.
        capacity: u32,
        /// Other maps that have none either, and what is needed of them at the least.
        also: BTreeMap<&'static str, u32>,
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

    /// The same, where so many need as much.
    pub(super) fn times(mut self, count: u32) -> Self {
        if let Self::NoRoom { needed, .. } = &mut self {
            *needed = needed.saturating_mul(count);
        }
        self
    }

    /// Whether it would go with less policy.
    pub const fn is_want_of_room(&self) -> bool {
        matches!(self, Self::NoRoom { .. })
    }
}
