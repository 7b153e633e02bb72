//! Drift detection, piece by piece: whether all is as it was left. What differs is not set right piece by piece, for a
//! verdict depends on all maps at once: then all of them are compared, and set right together.

use std::{fmt::Debug, ops::Bound};

use ipnetwork::IpNetwork;
use proxy_common::policy::peers::{CidrKey4, CidrKey6, Peer, PeerKey4, PeerKey6};

use super::{PolicyEngine, books::rows_of};
use crate::{
    datapath::{
        prefix::Prefix,
        table::{Cursor, Table, TableError},
    },
    policy::{
        PolicyError,
        kernel::{peer_of4, peer_of6, prefix_of4, prefix_of6},
        lists::ListId,
        rows::RowHandle,
    },
};

/// A word in memory is compared so much faster than an entry is read.
const WORDS_OF_AN_ENTRY: usize = 64;

/// A comparison that is under way.
#[derive(Debug, Default)]
pub struct Glance {
    stage: Stage,
    peers4: Cursor<PeerKey4>,
    peers6: Cursor<PeerKey6>,
    cidrs4: Cursor<Prefix<CidrKey4>>,
    cidrs6: Cursor<Prefix<CidrKey6>>,
    /// Entries of the map being read that are as they were left.
    same: usize,
}

/// What is compared next.
#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    #[default]
    Words,
    /// Cells of rows after this one.
    Cells(Option<RowHandle>),
    /// Blocks of lists after this one.
    Blocks(Option<ListId>),
    Peers4,
    Peers6,
    Cidrs4,
    Cidrs6,
    /// All has been compared.
    End,
}

/// What a piece of the comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glanced {
    /// Nothing differs; there is more to compare.
    More,
    /// Nothing differs; that was the last piece.
    Done,
    /// Something may differ.
    Differs,
}

impl PolicyEngine {
    /// Compares about `budget` entries more with what was written. After the last piece, and after an error, it begins
    /// anew.
    pub fn glance(&mut self, budget: usize) -> Result<Glanced, PolicyError> {
        if !self.restored {
            return Ok(Glanced::Done);
        }
        let mut glance = std::mem::take(&mut self.glance);
        let next = self.piece(&mut glance, budget.max(1))?;
        Ok(match next {
            None => Glanced::Differs,
            Some(Stage::End) => Glanced::Done,
            Some(stage) => {
                glance.stage = stage;
                self.glance = glance;
                Glanced::More
            }
        })
    }

    /// What is next; none if something differs.
    fn piece(&self, glance: &mut Glance, budget: usize) -> Result<Option<Stage>, PolicyError> {
        let stage = glance.stage;
        let kernel = &self.kernel;
        let tables = &kernel.tables;
        let side = kernel.side;
        let peer = |(of, address)| (of == side).then(|| kernel.peers.get(&address)).flatten();
        let range = |(of, prefix): (u32, IpNetwork)| {
            (of == side).then(|| kernel.cidrs.get(prefix)).flatten()
        };
        let (found, then) = match stage {
            Stage::End => (Some(true), Stage::End),
            Stage::Words => (self.words_are_right().then_some(true), Stage::Cells(None)),
            Stage::Cells(last) => return Ok(self.cells_are_right(last, budget)),
            Stage::Blocks(last) => return self.blocks_are_right(last, budget),
            Stage::Peers4 => {
                let is_right = |key: &PeerKey4, value: &Peer| peer(peer_of4(key)) == Some(value);
                let (cursor, same) = (&mut glance.peers4, &mut glance.same);
                let all = kernel.peers.of_family(false);
                let found = page(&*tables.peers4, cursor, budget, same, all, is_right)?;
                (found, Stage::Peers6)
            }
            Stage::Peers6 => {
                let is_right = |key: &PeerKey6, value: &Peer| peer(peer_of6(key)) == Some(value);
                let (cursor, same) = (&mut glance.peers6, &mut glance.same);
                let all = kernel.peers.of_family(true);
                let found = page(&*tables.peers6, cursor, budget, same, all, is_right)?;
                (found, Stage::Cidrs4)
            }
            Stage::Cidrs4 => {
                let is_right = |key: &Prefix<CidrKey4>, value: &Peer| {
                    prefix_of4(key).and_then(range) == Some(value)
                };
                let (cursor, same) = (&mut glance.cidrs4, &mut glance.same);
                let all = kernel.cidrs.of_family(false);
                let found = page(&*tables.cidrs4, cursor, budget, same, all, is_right)?;
                (found, Stage::Cidrs6)
            }
            Stage::Cidrs6 => {
                let is_right = |key: &Prefix<CidrKey6>, value: &Peer| {
                    prefix_of6(key).and_then(range) == Some(value)
                };
                let (cursor, same) = (&mut glance.cidrs6, &mut glance.same);
                let all = kernel.cidrs.of_family(true);
                let found = page(&*tables.cidrs6, cursor, budget, same, all, is_right)?;
                (found, Stage::End)
            }
        };
        Ok(found.map(|done| if done { then } else { stage }))
    }

    fn words_are_right(&self) -> bool {
        let known = self.kernel.words.iter();
        known
            .into_iter()
            .all(|(id, right)| self.kernel.tables.words.get(id) == right)
    }

    fn cells_are_right(&self, last: Option<RowHandle>, budget: usize) -> Option<Stage> {
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = rows_of(&self.in_force);
        let (mut compared, mut last) = (0, last);
        for handle in rows.range((after, Bound::Unbounded)) {
            if compared >= budget * WORDS_OF_AN_ENTRY {
                return Some(Stage::Cells(last));
            }
            last = Some(*handle);
            let Some(row) = self.rows.all.get(handle) else {
                continue;
            };
            let (found, right) = (&self.kernel.tables.cells, &self.kernel.cells);
            let mut cells = row.place.header()..row.place.index(row.place.capacity());
            compared += cells.len();
            if cells.any(|index| found.get(index) != right.get(index)) {
                return None;
            }
        }
        Some(Stage::Blocks(None))
    }

    fn blocks_are_right(
        &self,
        last: Option<ListId>,
        budget: usize,
    ) -> Result<Option<Stage>, PolicyError> {
        let (blocks, last) = self.lists.written_after(last, budget);
        for (_, number, right) in blocks {
            if self.kernel.tables.intervals.get(&number)? != Some(right) {
                return Ok(None);
            }
        }
        let next = last.map_or(Stage::Peers4, |last| Stage::Blocks(Some(last)));
        Ok(Some(next))
    }
}

/// A page of a map: whether it was the last; none if something differs. Entries of the other side that still wait look as
/// if they did, and so may what was written meanwhile: the full comparison knows better.
fn page<K: Copy + Ord + Debug>(
    table: &dyn Table<K, Peer>,
    cursor: &mut Cursor<K>,
    budget: usize,
    same: &mut usize,
    all: usize,
    is_right: impl Fn(&K, &Peer) -> bool,
) -> Result<Option<bool>, TableError> {
    let entries = table.page(cursor, budget)?;
    if !entries.iter().all(|(key, peer)| is_right(key, peer)) {
        return Ok(None);
    }
    *same += entries.len();
    if !cursor.done {
        return Ok(Some(false));
    }
    let whole = *same == all;
    *same = 0;
    Ok(whole.then_some(true))
}
