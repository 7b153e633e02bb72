//! The books: what is in force after a plan was carried out, and what is told about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::PolicyEngine;
use crate::policy::{
    PolicyReport,
    plan::{Change, InForce, Plan, Selected},
    report::Usage,
    rows::RowHandle,
};

impl PolicyEngine {
    /// Keeps the books after a plan was carried out.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        change: &Change,
        plan: Plan,
        report: &mut PolicyReport,
    ) {
        let rows_before = rows_of(&self.in_force);
        self.in_force = plan.in_force;
        let rows_now = rows_of(&self.in_force);
        let gone: Vec<_> = rows_before.difference(&rows_now).copied().collect();
        let deserted = self.kernel.classes.desert();
        for (address, _) in change.addresses.iter().filter(|(_, want)| want.keep) {
            self.reclaim.want_peer(address);
        }
        for (prefix, _) in change.prefixes.iter().filter(|(_, want)| want.keep) {
            self.reclaim.want_cidr(prefix);
        }
        self.reclaim.outdate(&plan.stale_peers, &plan.stale_cidrs);
        if !plan.words.is_empty() || !gone.is_empty() || !deserted.is_empty() {
            self.reclaim.retire(now, gone, deserted);
        }
        self.good.clone_from(&self.effective.versions);
        self.keep_ready();
        report.committed = plan.words.len();
        report.wrapped = plan.wrapped;
        self.report(report);
    }

    fn keep_ready(&mut self) {
        let denied = self.wanted.as_ref().map(|(_, denied)| denied);
        let is_good = |id: &&u32| denied.is_none_or(|denied| !denied.contains_key(*id));
        self.ready = self.locals.keys().filter(is_good).copied().collect();
    }

    /// What is not as the cluster asks, as long as it is so.
    pub(super) fn report(&self, report: &mut PolicyReport) {
        if let Some((_, denied)) = &self.wanted {
            report.denied.clone_from(denied);
        }
        for (name, (_, why)) in &self.effective.refused {
            report.refused.insert(name.clone(), why.to_string());
        }
        for row in self.rows.all.values() {
            let (Some(key), Some(too_long)) = (&row.key, row.overflow) else {
                continue;
            };
            for version in &key.policies {
                let why = format!("{} peers are denied: {too_long}", key.direction);
                report.refused.insert(version.policy.name.clone(), why);
            }
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let (cells, cells_capacity) = self.rows.usage();
        let (blocks, blocks_capacity) = self.lists.usage();
        Usage {
            classes: self.kernel.classes.known().count(),
            rows: rows_of(&self.in_force).len(),
            cells,
            cells_capacity,
            blocks,
            blocks_capacity,
            peers: self.kernel.peers.len(),
            cidrs: self.kernel.cidrs.len(),
        }
    }
}

/// All rows that words name.
pub(super) fn rows_of(in_force: &BTreeMap<u32, InForce>) -> BTreeSet<RowHandle> {
    let all = in_force.values().flat_map(|f| f.rows);
    all.filter_map(|selected| match selected {
        Selected::Row(row) => Some(row),
        Selected::Deny | Selected::Allow => None,
    })
    .collect()
}
