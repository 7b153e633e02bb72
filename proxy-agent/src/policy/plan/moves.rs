//! Rows that go elsewhere in the table: same cells in another place, then the words that name it. No verdict changes, so no
//! epoch does.

use std::collections::BTreeMap;

use proxy_common::policy::words::PolicyWord;

use super::{Planner, Selected};
use crate::policy::{
    kernel::Kernel,
    rows::{Place, RowHandle, Rows},
};

/// What is to be moved.
#[derive(Debug, Default)]
pub struct Moves {
    /// Where rows go.
    rows: BTreeMap<RowHandle, Move>,
    /// The words of the endpoints that they judge, as they are afterwards.
    words: BTreeMap<u32, PolicyWord>,
}

/// One row.
#[derive(Debug)]
struct Move {
    to: Place,
    /// Its header and cells.
    cells: Vec<(u32, u64)>,
}

impl Moves {
    /// Carries them out; memory refuses no store. Gives what holds the places that they leave until those are free.
    pub fn carry_out(&mut self, kernel: &mut Kernel, rows: &mut Rows) -> Vec<RowHandle> {
        let moves = std::mem::take(self);
        for (index, cell) in moves.rows.values().flat_map(|row| &row.cells) {
            kernel.set_cell(*index, *cell);
        }
        for (id, word) in moves.words {
            kernel.set_word(id, word.pack());
        }
        let moved = moves.rows.into_iter();
        let left = moved.filter_map(|(row, Move { to, .. })| rows.relocate(row, to));
        left.collect()
    }

    /// Gives the places back that were taken for it.
    pub(super) fn abandon(&self, rows: &mut Rows) {
        for Move { to, .. } in self.rows.values() {
            rows.free_space(*to);
        }
    }
}

impl Planner<'_> {
    /// Has a row in force go elsewhere.
    pub(super) fn relocate(&mut self, handle: RowHandle, place: Place) {
        let mut cells = vec![(place.header(), u64::from(place.capacity()))];
        cells.extend((0..place.capacity()).map(|class| {
            let cell = super::targets::stored_cell(self.kernel, self.rows, handle, class);
            (place.index(class), cell)
        }));
        self.plan
            .moves
            .rows
            .insert(handle, Move { to: place, cells });
        for (id, in_force) in self.in_force {
            if in_force.rows.contains(&Selected::Row(handle)) {
                let [ingress_row, egress_row] = in_force.rows.map(|row| self.number(row));
                let word = PolicyWord {
                    ingress_row,
                    egress_row,
                    ..self.word(*id)
                };
                self.plan.moves.words.insert(*id, word);
            }
        }
    }

    /// The word of an endpoint, once rows have moved.
    pub(super) fn word(&self, id: u32) -> PolicyWord {
        let moved = self.plan.moves.words.get(&id).copied();
        moved.unwrap_or_else(|| PolicyWord::unpack(self.kernel.words.get(id)))
    }

    /// A row as it lies once rows have moved; none if there is no such row.
    pub(super) fn lies(&self, handle: RowHandle) -> Option<Place> {
        let moved = self.plan.moves.rows.get(&handle).map(|moved| moved.to);
        moved.or_else(|| Some(self.rows.all.get(&handle)?.place))
    }
}
