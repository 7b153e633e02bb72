//! The cells: whole rows that come, one column in rows that are there for each new class.

use std::collections::BTreeMap;

use super::{Planner, targets::Targets};
use crate::policy::{
    classes::ClassId,
    report::PolicyError,
    rows::{Place, RowHandle},
};

/// A class and what a row says of it.
type ClassCell = (ClassId, u64);

impl Planner<'_> {
    /// Plans all cells, and which rows in force go elsewhere for them.
    pub(super) fn plan_cells(&mut self, targets: &Targets) -> Result<(), PolicyError> {
        let bound = self.classes.bound();
        let drafted = self.drafted_cells()?;
        let added = self.added_cells(targets)?;
        let reserved = self.reserve(bound);
        let reserved = self.unless_short(reserved)?.unwrap_or_default();
        if let Some(error) = self.short.pop() {
            self.give_back(reserved);
            return Err(error);
        }
        for (row, place) in reserved {
            self.relocate(row, place);
        }
        for (row, cells) in drafted {
            self.plan_row(row, cells);
        }
        for (row, class, cell) in added {
            self.plan_cell(row, class, cell);
        }
        let dying = self.dying.clone();
        for new in targets.new_classes() {
            for row in dying.iter().copied() {
                let cell = new.parent.map_or(0, |p| self.stored_cell(row, p));
                self.plan_cell(row, new.id, cell);
            }
        }
        Ok(())
    }

    /// The cells of the rows that come. Takes their lists.
    fn drafted_cells(&mut self) -> Result<Vec<(RowHandle, Vec<ClassCell>)>, PolicyError> {
        let known: Vec<_> = self.classes.known().collect();
        let mut all = Vec::new();
        for row in self.plan.drafts.clone() {
            let mut cells = Vec::with_capacity(known.len());
            for (class, vector) in &known {
                let cell = self.cell(row, *vector);
                cells.push((*class, self.unless_short(cell)?.unwrap_or(0)));
            }
            all.push((row, cells));
        }
        Ok(all)
    }

    /// The cells of new classes in the rows that stay. Takes their lists.
    fn added_cells(
        &mut self,
        targets: &Targets,
    ) -> Result<Vec<(RowHandle, ClassId, u64)>, PolicyError> {
        let kept: Vec<RowHandle> = self.kept.values().copied().collect();
        let mut all = Vec::new();
        for new in targets.new_classes() {
            for row in &kept {
                let cell = self.cell(*row, new.vector);
                all.push((*row, new.id, self.unless_short(cell)?.unwrap_or(0)));
            }
        }
        Ok(all)
    }

    /// Takes space for the rows that come, and for those in force that are too narrow, or much too wide: which of those
    /// go where. On an error nothing is taken that [`abandon`](super::abandon) does not give back.
    fn reserve(&mut self, classes: u32) -> Result<Vec<(RowHandle, Place)>, PolicyError> {
        let is_narrow = |row: &RowHandle| {
            let row = self.rows.all.get(row);
            row.is_some_and(|row| row.place.capacity() < classes)
        };
        let narrow: Vec<_> = self.live().into_iter().filter(is_narrow).collect();
        let kept = self.kept.values().copied();
        let wide: Vec<_> = kept
            .filter(|row| self.rows.is_wide(*row, classes))
            .collect();
        let mut taken = Vec::new();
        if let Err(error) = self.reserve_for(&narrow, classes, &mut taken) {
            self.give_back(taken);
            return Err(error);
        }
        for row in wide {
            // Where there is no room to move, what is too wide stays so.
            taken.extend(self.rows.space(classes).ok().map(|space| (row, space)));
        }
        Ok(taken)
    }

    fn give_back(&mut self, taken: Vec<(RowHandle, Place)>) {
        for (_, place) in taken {
            self.rows.free_space(place);
        }
    }

    /// An error tells what all rows need that are left without.
    fn reserve_for(
        &mut self,
        narrow: &[RowHandle],
        classes: u32,
        taken: &mut Vec<(RowHandle, Place)>,
    ) -> Result<(), PolicyError> {
        let drafts = self.plan.drafts.clone();
        let mut left = (narrow.len() + drafts.len()) as u32;
        for row in narrow {
            let space = self
                .rows
                .space(classes)
                .map_err(|error| error.times(left))?;
            taken.push((*row, space));
            left -= 1;
        }
        for row in drafts {
            let placed = self.rows.place(row, classes);
            placed.map_err(|error| error.times(left))?;
            left -= 1;
        }
        Ok(())
    }

    fn plan_cell(&mut self, row: RowHandle, class: u32, cell: u64) {
        if let Some(place) = self.lies(row) {
            self.plan.cells.push((place.index(class), cell));
        }
    }

    fn plan_row(&mut self, row: RowHandle, cells: Vec<ClassCell>) {
        let Some(place) = self.lies(row) else {
            return;
        };
        let header = (place.header(), u64::from(place.capacity()));
        self.plan.cells.push(header);
        let cells: BTreeMap<ClassId, u64> = cells.into_iter().collect();
        for class in 0..place.capacity() {
            let cell = cells.get(&class).copied().unwrap_or(0);
            self.plan.cells.push((place.index(class), cell));
        }
    }
}
