//! Ids that no endpoint has: their words deny everything, so that nobody who is given such an id passes by what
//! judged another.

use std::collections::BTreeSet;

use proxy_common::policy::words::{EPOCH_LIMIT, PolicyWord, ROW_DENY_ALL};

use super::{PolicyEngine, books::rows_of};

impl PolicyEngine {
    /// Denies everything to all ids but these, before the next sync would. Their epochs grow: flows of whoever had
    /// the id do not pass either. Gives the ids whose epoch begins anew.
    pub fn deny_unused(&mut self, used: &BTreeSet<u32>) -> Vec<u32> {
        let unused: Vec<u32> = self
            .in_force
            .keys()
            .filter(|id| !used.contains(id))
            .copied()
            .collect();
        if unused.is_empty() {
            return Vec::new();
        }
        let rows_before = rows_of(&self.in_force);
        let mut wrapped = Vec::new();
        for id in unused {
            self.in_force.remove(&id);
            self.ready.remove(&id);
            if self.deny(id) {
                wrapped.push(id);
            }
        }
        let rows_now = rows_of(&self.in_force);
        let gone = rows_before.difference(&rows_now).copied().collect();
        self.reclaim
            .retire(std::time::Instant::now(), gone, Vec::new());
        wrapped
    }

    /// Denies everything; whether the epoch begins anew.
    fn deny(&mut self, id: u32) -> bool {
        let now = PolicyWord::unpack(self.kernel.words.get(id));
        if [now.ingress_row, now.egress_row] == [ROW_DENY_ALL; 2] {
            return false;
        }
        let wraps = now.epoch + 1 >= EPOCH_LIMIT;
        let word = PolicyWord {
            ingress_row: ROW_DENY_ALL,
            egress_row: ROW_DENY_ALL,
            side: self.kernel.side,
            epoch: if wraps { 1 } else { now.epoch + 1 },
        };
        self.kernel.set_word(id, word.pack());
        wraps
    }
}
