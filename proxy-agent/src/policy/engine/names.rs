//! Forgetting the names of rules that are gone.

use std::collections::BTreeSet;

use super::{PolicyEngine, books::rows_of};
use crate::policy::rows::{Row, RowHandle};

/// Names of rules that are gone, which are kept at the least: to know which are needed takes a look at each flow.
const KEPT: usize = 64;

impl PolicyEngine {
    /// Whether most cookies may be of rules that are gone.
    pub fn has_old_cookies(&self) -> bool {
        let in_force = rows_of(&self.in_force);
        let in_force = self.cookies_of(|row| in_force.contains(row));
        self.cookies.iter().count() > 2 * in_force.len() + KEPT
    }

    /// Forgets what cookies mean that no row holds and none of these names: those of flows that rules once allowed.
    pub fn forget_cookies(&mut self, flows: &BTreeSet<u32>) {
        // Of rows that have retired too: a packet may still read them.
        let held = self.cookies_of(|_| true);
        self.cookies
            .retain(|cookie| held.contains(&cookie) || flows.contains(&cookie));
    }

    fn cookies_of(&self, which: impl Fn(&RowHandle) -> bool) -> BTreeSet<u32> {
        let rows = self.rows.all.iter().filter(|(handle, _)| which(handle));
        rows.map(|(_, row)| row).flat_map(Row::cookies).collect()
    }
}
