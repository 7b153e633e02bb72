//! Sets right what an outside hand changed, in steps none of which lets through what was denied before and
//! should be: first whatever was changed denies, then entries are set right, then verdicts. Flows that began
//! meanwhile are judged anew, because every epoch grows.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use ipnetwork::IpNetwork;
use proxy_common::policy::{
    cells::{Cell, LIST, ROW_STRIDE},
    words::{EPOCH_LIMIT, PolicyWord, ROW_DENY_ALL},
};

use super::{
    apply::apply,
    drift::{Changed, Drift, live_cells},
    kernel::Kernel,
    lists::{Lists, Renewal},
    plan::{InForce, Plan},
    report::PolicyError,
    rows::{Row, RowHandle, Rows},
};

/// What a repair needs.
pub struct Repair<'a> {
    /// The maps.
    pub kernel: &'a mut Kernel,
    /// Rows.
    pub rows: &'a mut Rows,
    /// Lists.
    pub lists: &'a mut Lists,
    /// What judges the endpoints.
    pub in_force: &'a BTreeMap<u32, InForce>,
}

/// What a repair left to do.
#[derive(Debug, Default)]
pub struct Repaired {
    /// Holds the blocks of lists that were written anew elsewhere: to be freed after a grace period.
    pub retired: Vec<RowHandle>,
    /// Endpoints whose epoch begins anew.
    pub wrapped: Vec<u32>,
}

impl Repair<'_> {
    /// Sets right what differs. After an error, what could not be set right denies; the next repair goes on.
    pub fn run(&mut self, drift: &Drift, repaired: &mut Repaired) -> Result<(), PolicyError> {
        let touched = self.cells_of(&drift.lists);
        self.close(drift, &touched);
        let (mut broken, mut result) = (BTreeSet::new(), Ok(()));
        for list in &drift.lists {
            match self.renew(*list) {
                Ok(husk) => repaired.retired.extend(husk),
                Err(error) => {
                    broken.insert(*list);
                    result = Err(error);
                }
            }
        }
        apply(&entries(drift), self.kernel, self.lists)?;
        let closed: BTreeSet<u32> = self.cells_of(&broken).into_iter().collect();
        let cells = drift.cells.iter().map(|c| c.key).chain(touched);
        let cells: BTreeSet<u32> = cells.filter(|i| !closed.contains(i)).collect();
        let right = |index| (index, self.kernel.cells.get(index));
        let mut verdicts = Plan {
            cells: cells.into_iter().map(right).collect(),
            ..Plan::default()
        };
        self.words(drift, &mut verdicts);
        apply(&verdicts, self.kernel, self.lists)?;
        repaired.wrapped = verdicts.wrapped;
        result
    }

    /// Cells in force that name one of these lists.
    fn cells_of(&self, lists: &BTreeSet<u32>) -> Vec<u32> {
        if lists.is_empty() {
            return Vec::new();
        }
        let names = |index: &u32| {
            let cell = Cell::unpack(self.kernel.cells.get(*index));
            !is_header(*index, self.rows) && cell.kind == LIST && lists.contains(&cell.list)
        };
        live_cells(self.rows, self.in_force).filter(names).collect()
    }

    /// Lets what was changed deny. The picture stays: if the repair does not come to its end, the next
    /// comparison finds these.
    fn close(&mut self, drift: &Drift, cells: &[u32]) {
        let tables = &mut self.kernel.tables;
        for Changed { key, found, .. } in &drift.words {
            let closed = PolicyWord {
                ingress_row: ROW_DENY_ALL,
                egress_row: ROW_DENY_ALL,
                ..PolicyWord::unpack(*found)
            };
            tables.words.set(*key, closed.pack());
        }
        for index in drift
            .cells
            .iter()
            .map(|c| c.key)
            .chain(cells.iter().copied())
        {
            tables.cells.set(index, 0);
        }
    }

    /// Writes a list anew in other blocks: those that it has may be read while they are written.
    fn renew(&mut self, list: u32) -> Result<Option<RowHandle>, PolicyError> {
        let Some(renewal) = self.lists.begin_renewal(list)? else {
            return Ok(None);
        };
        for (number, block) in &renewal.writes {
            if let Err(error) = self.kernel.tables.intervals.set(number, block) {
                self.lists.abandon_renewal(&renewal);
                return Err(error.into());
            }
        }
        let touched = self.cells_of(&BTreeSet::from([list]));
        let to = renewal.to;
        for index in touched {
            let cell = Cell::unpack(self.kernel.cells.get(index));
            self.kernel
                .cells
                .set(index, Cell { list: to, ..cell }.pack());
        }
        self.rows.rename_list(list, to);
        let husk = husk(renewal, self.lists);
        Ok(Some(self.rows.add(husk)))
    }

    /// The right words, under epochs that no flow has: those that were changed, and if anything else was, those
    /// of all endpoints.
    fn words(&self, drift: &Drift, plan: &mut Plan) {
        let changed = drift.words.iter().map(|c| (c.key, c.found));
        let mut found: BTreeMap<u32, u64> = changed.collect();
        let only_words = found.len() == drift.len();
        for id in self.in_force.keys().filter(|_| !only_words) {
            found
                .entry(*id)
                .or_insert_with(|| self.kernel.words.get(*id));
        }
        for (id, found) in found {
            let mut word = PolicyWord::unpack(self.kernel.words.get(id));
            word.epoch = word.epoch.max(PolicyWord::unpack(found).epoch) + 1;
            if word.epoch >= EPOCH_LIMIT {
                word.epoch = 1;
                plan.wrapped.push(id);
            }
            plan.words.push((id, word.pack()));
        }
    }
}

fn is_header(index: u32, rows: &Rows) -> bool {
    index.is_multiple_of(ROW_STRIDE) && rows.all.values().any(|row| row.place.header() == index)
}

/// A row of no cells that holds the blocks of a list until nobody can be reading them.
fn husk(renewal: Renewal, lists: &mut Lists) -> Row {
    let mut husk = Row::husk();
    husk.foreign_blocks = lists.finish_renewal(renewal);
    husk
}

/// Entries: those that are missing or changed, exact ones and inner prefixes first, so that no address falls
/// to a wider one; then those that should not be, the other way round.
fn entries(drift: &Drift) -> Plan {
    let mut plan = Plan::default();
    for Changed { key, right, .. } in &drift.peers {
        match right {
            Some(peer) => plan.peers.push((*key, *peer)),
            None => plan.removed.push(*key),
        }
    }
    for Changed { key, right, .. } in &drift.cidrs {
        match right {
            Some(peer) => plan.cidrs.push((*key, *peer)),
            None => plan.removed_cidrs.push(*key),
        }
    }
    plan.cidrs
        .sort_by_key(|(prefix, _)| Reverse(prefix.prefix()));
    plan.removed_cidrs.sort_by_key(IpNetwork::prefix);
    plan
}
