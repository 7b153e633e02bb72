//! Filling the maps of policy.

use std::{iter, net::IpAddr};

use anyhow::{Context as _, Result};
use aya::maps::{LpmTrie, lpm_trie::Key};
use proxy_agent::datapath::tree;
use proxy_common::policy::{
    cells::{Cell, LIST, ROW_STRIDE},
    intervals::{Interval, IntervalBlock},
    peers::Peer,
    words::PolicyWord,
};

use super::bench::Bench;
use crate::family::{Family, Four, Six};

/// A cell that an interval list decides.
pub fn list(block: u32) -> u64 {
    Cell {
        kind: LIST,
        list: block,
        cookie: 0,
    }
    .pack()
}

impl Bench {
    /// Commits the policy of the pod (1) or of the other pod (2), under a new epoch.
    pub fn policy(&mut self, endpoint: u32, ingress_row: u32, egress_row: u32) -> Result<()> {
        self.epoch += 1;
        let word = PolicyWord {
            ingress_row,
            egress_row,
            side: 0,
            epoch: self.epoch,
        };
        self.array("POLICY_WORDS")?.set(endpoint, word.pack(), 0)?;
        Ok(())
    }

    /// Writes a row: the cells of its classes.
    pub fn row(&mut self, row: u32, cells: &[u64]) -> Result<()> {
        let mut map = self.array("POLICY_CELLS")?;
        map.set(row * ROW_STRIDE, cells.len() as u64, 0)?;
        for (class, cell) in (1..).zip(cells) {
            map.set(row * ROW_STRIDE + class, *cell, 0)?;
        }
        Ok(())
    }

    /// Writes a list of intervals, sorted by their keys, into this block and, where one is too small, those from `next` on, or
    /// with 0 those that follow; what is in none is denied.
    pub fn intervals(&mut self, first: u32, allowed: &[Interval], next: u32) -> Result<()> {
        let size = u32::try_from(tree::size(allowed.len()))?;
        let next = if next == 0 { first + 1 } else { next };
        let numbers: Vec<u32> = iter::once(first).chain(next..next + size - 1).collect();
        let mut map = self.array("INTERVALS")?;
        for (number, block) in tree::lay_out(allowed, &numbers) {
            map.set(number, block, 0)?;
        }
        Ok(())
    }

    /// Writes one block.
    pub fn block(&mut self, number: u32, level: u8, entries: &[Interval]) -> Result<()> {
        let mut block = IntervalBlock {
            count: u8::try_from(entries.len())?,
            level,
            ..IntervalBlock::default()
        };
        block.intervals[..entries.len()].copy_from_slice(entries);
        self.array("INTERVALS")?.set(number, block, 0)?;
        Ok(())
    }

    /// The class of an address.
    pub fn peer(&mut self, address: IpAddr, class: u32, flags: u32) -> Result<()> {
        let peer = Peer { class, flags };
        self.peer_of::<Four>(address, peer)?;
        self.peer_of::<Six>(address, peer)
    }

    fn peer_of<F: Family>(&mut self, address: IpAddr, peer: Peer) -> Result<()> {
        if let Some(address) = F::address(address) {
            self.hash::<F::PeerKey, Peer>(&F::map("PEERS"))?.insert(
                F::peer(0, address),
                peer,
                0,
            )?;
        }
        Ok(())
    }

    /// The class of all addresses that nothing else names.
    pub fn everybody(&mut self, class: u32) -> Result<()> {
        let peer = Peer { class, flags: 0 };
        self.everybody_of::<Four>(peer)?;
        self.everybody_of::<Six>(peer)
    }

    fn everybody_of<F: Family>(&mut self, peer: Peer) -> Result<()> {
        let name = F::map("CIDRS");
        let map = self
            .ebpf
            .map_mut(&name)
            .with_context(|| format!("no map {name}"))?;
        let key = Key::new(32, F::cidr(0, F::Address::default()));
        LpmTrie::try_from(map)?.insert(&key, peer, 0)?;
        Ok(())
    }
}
