//! Forgetting the names of rules that are gone.

use std::collections::BTreeSet;

use super::PolicyEngine;
use crate::policy::rows::Row;

impl PolicyEngine {
    /// Forgets what cookies mean that no row holds and none of these names: those of flows that rules once allowed.
    pub fn forget_cookies(&mut self, flows: &BTreeSet<u32>) {
        let rows = self.rows.all.values();
        let held: BTreeSet<u32> = rows.flat_map(Row::cookies).collect();
        self.cookies
            .retain(|cookie| held.contains(&cookie) || flows.contains(&cookie));
    }
}
