//! The maps that policy writes.

use proxy_common::policy::{
    intervals::IntervalBlock,
    peers::{CidrKey4, CidrKey6, Peer, PeerKey4, PeerKey6},
};

use crate::datapath::{maps::Maps, prefix::Prefix, table::Table, words::Words};

/// All maps of the policy datapath. The engine is their single writer.
pub struct PolicyTables {
    /// `PEERS4`.
    pub peers4: Box<dyn Table<PeerKey4, Peer>>,
    /// `PEERS6`.
    pub peers6: Box<dyn Table<PeerKey6, Peer>>,
    /// `CIDRS4`.
    pub cidrs4: Box<dyn Table<Prefix<CidrKey4>, Peer>>,
    /// `CIDRS6`.
    pub cidrs6: Box<dyn Table<Prefix<CidrKey6>, Peer>>,
    /// `INTERVALS`.
    pub intervals: Box<dyn Table<u32, IntervalBlock>>,
    /// `POLICY_CELLS`.
    pub cells: Box<dyn Words>,
    /// `POLICY_WORDS`.
    pub words: Box<dyn Words>,
}

impl From<&Maps> for PolicyTables {
    fn from(maps: &Maps) -> Self {
        Self {
            peers4: Box::new(maps.peers4.clone()),
            peers6: Box::new(maps.peers6.clone()),
            cidrs4: Box::new(maps.cidrs4.clone()),
            cidrs6: Box::new(maps.cidrs6.clone()),
            intervals: Box::new(maps.intervals.clone()),
            cells: Box::new(maps.policy_cells.clone()),
            words: Box::new(maps.policy_words.clone()),
        }
    }
}
