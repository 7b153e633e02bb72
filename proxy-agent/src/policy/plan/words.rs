//! The words: one store per endpoint commits both directions.

use proxy_common::policy::words::{EPOCH_LIMIT, PolicyWord, ROW_ALLOW_ALL, ROW_DENY_ALL};

use super::{
    Change, InForce, Planner, Selected,
    targets::{Targets, same},
};
use crate::policy::{report::PolicyError, rows::RowHandle};

impl Planner<'_> {
    /// Plans the words: of endpoints whose rows change, of those for which the verdict on some class changed,
    /// and of those that are gone. The epoch outlives the endpoint, so that flows of the next pod under this
    /// id are judged anew.
    pub(super) fn plan_words(
        &mut self,
        change: &Change,
        targets: &Targets,
    ) -> Result<(), PolicyError> {
        let side = self.kernel.side;
        let mut touched = std::collections::BTreeSet::new();
        let kept: Vec<RowHandle> = self.kept.values().copied().collect();
        for row in kept {
            if self.is_touched(row, targets)? {
                touched.insert(Selected::Row(row));
            }
        }
        for (id, wanted) in &change.endpoints {
            let rows = [self.selected(&wanted[0]), self.selected(&wanted[1])];
            let stale = self.local_node_moves || rows.iter().any(|r| touched.contains(r));
            self.plan_word(*id, rows, stale);
            self.plan.in_force.insert(*id, InForce { rows, side });
        }
        for id in self.in_force.keys() {
            if !change.endpoints.contains_key(id) {
                self.plan_word(*id, [Selected::Deny; 2], false);
            }
        }
        Ok(())
    }

    fn plan_word(&mut self, id: u32, rows: [Selected; 2], stale: bool) {
        let now = self.word(id);
        let [ingress_row, egress_row] = rows.map(|s| self.number(s));
        let mut word = PolicyWord {
            ingress_row,
            egress_row,
            side: self.kernel.side,
            epoch: now.epoch,
        };
        if word == now && !stale {
            return;
        }
        word.epoch += 1;
        if word.epoch >= EPOCH_LIMIT {
            word.epoch = 1;
            self.plan.wrapped.push(id);
        }
        self.plan.words.push((id, word.pack()));
    }

    /// Number of a row, once rows have moved.
    pub(super) fn number(&self, selected: Selected) -> u32 {
        match selected {
            Selected::Deny => ROW_DENY_ALL,
            Selected::Allow => ROW_ALLOW_ALL,
            Selected::Row(row) => self.lies(row).map_or(ROW_DENY_ALL, |place| place.number),
        }
    }

    /// Whether some address changes its verdict in a row that stays.
    fn is_touched(&mut self, row: RowHandle, targets: &Targets) -> Result<bool, PolicyError> {
        for (from, to) in self.moves.clone() {
            let before = match targets.ancestor(from) {
                Some(from) => self.stored_cell(row, from),
                None => 0,
            };
            let after = match targets.new_class(to) {
                Some(new) => self.cell(row, new.vector)?,
                None => self.stored_cell(row, to),
            };
            if !same(before, after) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
