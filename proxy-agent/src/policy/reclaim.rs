//! Deferred reclamation: what is replaced, until nobody can be reading it any more.
//!
//! A program reads a word, then an entry, a cell, a block. It runs to its end on its CPU, in microseconds.
//! So nothing that it may have found is used anew before [`GRACE`] has passed: numbers are given back by the
//! first sync after that.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use ipnetwork::IpNetwork;

use super::{
    classes::ClassId,
    kernel::{Kernel, remove_cidr, remove_peer},
    lists::Lists,
    report::PolicyError,
    rows::{RowHandle, Rows},
};

/// How long replaced rows, classes and lists stay untouched.
pub const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Batch {
    rows: Vec<RowHandle>,
    classes: Vec<ClassId>,
}

/// Everything that waits.
#[derive(Debug, Default)]
pub struct Reclaim {
    batches: Vec<(Instant, Batch)>,
    /// Entries that say what would hold without them.
    stale_peers: BTreeSet<IpAddr>,
    stale_cidrs: BTreeSet<IpNetwork>,
    /// Entries of the other side.
    other_peers: Vec<(u32, IpAddr)>,
    other_cidrs: Vec<(u32, IpNetwork)>,
    last: Option<Instant>,
}

impl Reclaim {
    /// Lets rows and classes wait from now on.
    pub fn retire(&mut self, now: Instant, rows: Vec<RowHandle>, classes: Vec<ClassId>) {
        self.last = Some(now);
        if !rows.is_empty() || !classes.is_empty() {
            self.batches.push((now, Batch { rows, classes }));
        }
    }

    /// Whether a row waits.
    pub fn holds(&self, row: RowHandle) -> bool {
        self.batches.iter().any(|(_, b)| b.rows.contains(&row))
    }

    /// Entries to be removed after the grace period.
    pub fn outdate(&mut self, peers: &[IpAddr], cidrs: &[IpNetwork]) {
        self.stale_peers.extend(peers);
        self.stale_cidrs.extend(cidrs);
    }

    /// An entry is wanted after all.
    pub fn want_peer(&mut self, address: &IpAddr) {
        self.stale_peers.remove(address);
    }

    /// A prefix is wanted after all.
    pub fn want_cidr(&mut self, prefix: &IpNetwork) {
        self.stale_cidrs.remove(prefix);
    }

    /// Entries of the side that no word names any more.
    pub fn leave_side(&mut self, peers: Vec<(u32, IpAddr)>, cidrs: Vec<(u32, IpNetwork)>) {
        self.other_peers = peers;
        self.other_cidrs = cidrs;
    }

    /// More entries of the other side.
    pub fn add_other(&mut self, peers: Vec<(u32, IpAddr)>, cidrs: Vec<(u32, IpNetwork)>) {
        self.other_peers.extend(peers);
        self.other_cidrs.extend(cidrs);
    }

    /// Exact entries of the other side that wait.
    pub fn other_peers(&self) -> BTreeSet<(u32, IpAddr)> {
        self.other_peers.iter().copied().collect()
    }

    /// Prefixes of the other side that wait.
    pub fn other_cidrs(&self) -> BTreeSet<(u32, IpNetwork)> {
        self.other_cidrs.iter().copied().collect()
    }

    /// How many prefixes of the other side wait, by family.
    pub fn other_cidr_count(&self) -> [u32; 2] {
        let v6 = self
            .other_cidrs
            .iter()
            .filter(|(_, prefix)| prefix.is_ipv6());
        let v6 = v6.count();
        [(self.other_cidrs.len() - v6) as u32, v6 as u32]
    }

    /// When there will be something to free.
    pub fn due(&self, now: Instant) -> Option<Duration> {
        let waits = !(self.batches.is_empty()
            && self.stale_peers.is_empty()
            && self.stale_cidrs.is_empty()
            && self.other_peers.is_empty()
            && self.other_cidrs.is_empty());
        let last = self.last?;
        waits.then(|| (last + GRACE).saturating_duration_since(now))
    }

    /// Frees what has waited long enough. Nothing may be in flux: no plan half applied.
    pub fn run(
        &mut self,
        now: Instant,
        kernel: &mut Kernel,
        rows: &mut Rows,
        lists: &mut Lists,
    ) -> Result<(), PolicyError> {
        let (ripe, waiting) = std::mem::take(&mut self.batches)
            .into_iter()
            .partition(|(since, _)| now.saturating_duration_since(*since) >= GRACE);
        self.batches = waiting;
        for (_, batch) in ripe {
            batch.rows.iter().for_each(|row| rows.forget(*row, lists));
            batch
                .classes
                .iter()
                .for_each(|c| kernel.classes.release(*c));
        }
        let quiet = |last| now.saturating_duration_since(last) >= GRACE;
        if self.last.is_some_and(quiet) {
            self.remove_entries(kernel)?;
        }
        Ok(())
    }

    fn remove_entries(&mut self, kernel: &mut Kernel) -> Result<(), PolicyError> {
        while let Some((side, address)) = self.other_peers.last().copied() {
            remove_peer(&mut kernel.tables, side, address)?;
            self.other_peers.pop();
        }
        while let Some((side, prefix)) = self.other_cidrs.last().copied() {
            remove_cidr(&mut kernel.tables, side, prefix)?;
            self.other_cidrs.pop();
        }
        for address in self.stale_peers.clone() {
            let below = kernel.cidrs.lookup(address).map(|(_, p)| p.class);
            if says_the_same(kernel, kernel.peers.get(&address).map(|p| p.class), below) {
                kernel.remove_peer(address)?;
                self.stale_peers.remove(&address);
            }
        }
        for prefix in self.stale_cidrs.clone() {
            let below = kernel.cidrs.parent(prefix).map(|(_, p)| p.class);
            if says_the_same(kernel, kernel.cidrs.get(prefix).map(|p| p.class), below) {
                kernel.remove_cidr(prefix)?;
                self.stale_cidrs.remove(&prefix);
            }
        }
        Ok(())
    }
}

/// Whether two classes stand for the same, or there is no entry any more.
fn says_the_same(kernel: &Kernel, entry: Option<ClassId>, below: Option<ClassId>) -> bool {
    let vector = |class| kernel.classes.vector(class);
    match (entry, below) {
        (None, _) => true,
        (Some(entry), Some(below)) => vector(entry).is_some() && vector(entry) == vector(below),
        (Some(_), None) => false,
    }
}
