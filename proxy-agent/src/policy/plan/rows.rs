//! Which rows stay, which go, which come; what classes stand for in terms of new atoms.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{Change, Planner, Selected, Wanted, targets::Check};
use crate::policy::{
    classes::ClassId,
    report::PolicyError,
    row::{Program, RowKey},
    rows::{Row, RowHandle},
    vector::VectorId,
};

impl Planner<'_> {
    /// Sorts the rows in force into kept and dying, and drafts the missing ones.
    ///
    /// A row that some endpoint leaves while addresses change class is replaced for those that stay too: its
    /// columns owe the one the old verdict and the others the new.
    pub(super) fn sort_rows(&mut self, change: &Change) {
        let wanted: HashSet<&Arc<RowKey>> = change
            .endpoints
            .values()
            .flatten()
            .filter_map(|w| match w {
                Wanted::Row(key) => Some(key),
                Wanted::Deny | Wanted::Allow => None,
            })
            .collect();
        let moving = self.addresses_move(change);
        let left = self.left(change);
        for row in self.live() {
            let key = self.rows.all.get(&row).and_then(|r| r.key.clone());
            match key.filter(|k| wanted.contains(k) && !(moving && left.contains(&row))) {
                Some(key) => {
                    self.kept.insert(key, row);
                }
                None => {
                    self.dying.insert(row);
                }
            }
        }
        self.compile(change.all, wanted);
    }

    fn compile(&mut self, all: bool, wanted: HashSet<&Arc<RowKey>>) {
        if all {
            for (key, handle) in &self.kept {
                let program = Program::of(key, &self.compiled.atoms, self.cookies);
                if let Some(row) = self.rows.all.get_mut(handle) {
                    row.recompile(program);
                }
            }
        }
        for key in wanted {
            if self.kept.contains_key(key) {
                continue;
            }
            let program = Program::of(key, &self.compiled.atoms, self.cookies);
            let row = Row::new(Some(Arc::clone(key)), program, self.kernel.side);
            let handle = self.rows.add(row);
            self.fresh.insert(Arc::clone(key), handle);
            self.plan.drafts.push(handle);
        }
    }

    /// Rows that words of this side name.
    pub(super) fn live(&self) -> BTreeSet<RowHandle> {
        let here = self
            .in_force
            .values()
            .filter(|f| f.side == self.kernel.side);
        here.flat_map(|f| f.rows)
            .filter_map(|selected| match selected {
                Selected::Row(row) => Some(row),
                Selected::Deny | Selected::Allow => None,
            })
            .collect()
    }

    fn left(&self, change: &Change) -> BTreeSet<RowHandle> {
        let mut left = BTreeSet::new();
        for (id, wanted) in &change.endpoints {
            let Some(now) = self.in_force.get(id) else {
                continue;
            };
            for (selected, wanted) in now.rows.iter().zip(wanted) {
                if let Selected::Row(row) = selected
                    && !self.has_key(*row, wanted)
                {
                    left.insert(*row);
                }
            }
        }
        left
    }

    fn has_key(&self, row: RowHandle, wanted: &Wanted) -> bool {
        let key = self.rows.all.get(&row).and_then(|r| r.key.as_ref());
        matches!((key, wanted), (Some(a), Wanted::Row(b)) if a == b)
    }

    fn addresses_move(&self, change: &Change) -> bool {
        let (kernel, classes) = (self.kernel, &self.classes);
        let stays = |class: Option<ClassId>, vector: VectorId| {
            class.is_some_and(|c| classes.vector(c) == Some(vector))
        };
        change.all
            || change.addresses.iter().any(|(a, want)| {
                let class = kernel.peers.get(a).map(|p| p.class);
                class.is_some() != want.keep || (want.keep && !stays(class, want.vector))
            })
    }

    /// What will judge an endpoint.
    pub(super) fn selected(&self, wanted: &Wanted) -> Selected {
        match wanted {
            Wanted::Deny => Selected::Deny,
            Wanted::Allow => Selected::Allow,
            Wanted::Row(key) => {
                let row = self.kept.get(key).or_else(|| self.fresh.get(key));
                row.map_or(Selected::Deny, |row| Selected::Row(*row))
            }
        }
    }

    /// The rows that endpoints change: whatever is done to classes must not show through them.
    pub(super) fn checks(&self, change: &Change) -> Vec<Check> {
        let mut checks = BTreeSet::new();
        for (id, wanted) in &change.endpoints {
            let Some(now) = self.in_force.get(id) else {
                continue;
            };
            if now.side != self.kernel.side {
                continue;
            }
            for (selected, wanted) in now.rows.into_iter().zip(wanted) {
                let next = self.selected(wanted);
                if let Selected::Row(row) = selected
                    && next != selected
                {
                    checks.insert(Check { row, next });
                }
            }
        }
        checks.into_iter().collect()
    }

    /// Says of every class which vector it stands for now: the one most of its members have, if the columns
    /// of all kept rows agree.
    pub(super) fn restate_classes(&mut self, change: &Change) -> Result<(), PolicyError> {
        let mut tally: BTreeMap<ClassId, HashMap<VectorId, usize>> = BTreeMap::new();
        let addresses = change.addresses.iter().filter_map(|(a, want)| {
            let class = self.kernel.peers.get(a)?.class;
            Some((class, want.vector))
        });
        let prefixes = change.prefixes.iter().filter_map(|(p, want)| {
            let class = self.kernel.cidrs.get(*p)?.class;
            Some((class, want.vector))
        });
        for (class, vector) in addresses.chain(prefixes) {
            *tally.entry(class).or_default().entry(vector).or_default() += 1;
        }
        let all: Vec<_> = self.classes.known().map(|(id, _)| id).collect();
        for class in all {
            self.classes.set_vector(class, None);
        }
        for (class, votes) in tally {
            let mut votes: Vec<_> = votes.into_iter().collect();
            votes.sort_by_key(|(vector, count)| (std::cmp::Reverse(*count), *vector));
            for (vector, _) in votes {
                if self.kept_rows_agree(class, vector)? {
                    self.classes.set_vector(class, Some(vector));
                    break;
                }
            }
        }
        Ok(())
    }

    fn kept_rows_agree(&mut self, class: ClassId, vector: VectorId) -> Result<bool, PolicyError> {
        let kept: Vec<RowHandle> = self.kept.values().copied().collect();
        for row in kept {
            let expected = self.cell(row, vector)?;
            if expected != self.stored_cell(row, class) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the table says of a class in a row.
    pub(super) fn stored_cell(&self, row: RowHandle, class: ClassId) -> u64 {
        super::targets::stored_cell(self.kernel, self.rows, row, class)
    }
}
