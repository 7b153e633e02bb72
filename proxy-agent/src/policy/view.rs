//! The maps as a program reads them: for `proxyctl policy why` and for tests.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use proxy_common::policy::{intervals::IntervalBlock, peers::Peer};

use super::{
    kernel::{key4, key6, read_cidrs},
    prefix_map::PrefixMap,
    tables::PolicyTables,
};
use crate::datapath::table::TableError;

/// What a program can read.
pub trait PolicyView {
    /// `POLICY_WORDS`.
    fn word(&self, endpoint: u32) -> u64;
    /// `POLICY_CELLS`.
    fn cell(&self, index: u32) -> u64;
    /// `PEERS4` or `PEERS6`.
    fn peer(&self, side: u32, address: IpAddr) -> Result<Option<Peer>, TableError>;
    /// The longest prefix of `CIDRS4` or `CIDRS6`.
    fn range(&self, side: u32, address: IpAddr) -> Result<Option<(IpNetwork, Peer)>, TableError>;
    /// `INTERVALS`.
    fn block(&self, number: u32) -> Result<Option<IntervalBlock>, TableError>;
}

/// Live maps, with the prefixes read once: user space has no cheap way to learn which prefix matched.
pub struct LiveView<'a> {
    tables: &'a PolicyTables,
    ranges: [PrefixMap<Peer>; 2],
}

impl<'a> LiveView<'a> {
    /// A view of these maps.
    pub fn new(tables: &'a PolicyTables) -> Result<Self, TableError> {
        let mut ranges = [PrefixMap::default(), PrefixMap::default()];
        for (side, prefix, peer) in read_cidrs(tables)? {
            if let Some(ranges) = ranges.get_mut(side as usize) {
                ranges.insert(prefix, peer);
            }
        }
        Ok(Self { tables, ranges })
    }
}

impl PolicyView for LiveView<'_> {
    fn word(&self, endpoint: u32) -> u64 {
        self.tables.words.get(endpoint)
    }

    fn cell(&self, index: u32) -> u64 {
        self.tables.cells.get(index)
    }

    fn peer(&self, side: u32, address: IpAddr) -> Result<Option<Peer>, TableError> {
        match address {
            IpAddr::V4(_) => self.tables.peers4.get(&key4(side, address)),
            IpAddr::V6(_) => self.tables.peers6.get(&key6(side, address)),
        }
    }

    fn range(&self, side: u32, address: IpAddr) -> Result<Option<(IpNetwork, Peer)>, TableError> {
        let ranges = self.ranges.get(side as usize);
        let found = ranges.and_then(|r| r.lookup(address));
        Ok(found.map(|(prefix, peer)| (prefix, *peer)))
    }

    fn block(&self, number: u32) -> Result<Option<IntervalBlock>, TableError> {
        self.tables.intervals.get(&number)
    }
}
