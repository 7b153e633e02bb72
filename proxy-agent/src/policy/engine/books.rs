//! The books: what is in force after a plan was carried out, and what is told about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use proxy_common::policy::cells::{Cell, LIST};

use super::PolicyEngine;
use crate::model::ObjectName;
use crate::policy::{
    Direction, PolicyReport,
    plan::{Change, InForce, Plan, Selected},
    report::{Refusal, Usage},
    rows::RowHandle,
    subject::Subject,
    version::Versions,
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
        let mut gone: Vec<_> = rows_before.difference(&rows_now).copied().collect();
        if change.all {
            self.kernel.peers.compact();
            gone.extend(self.shed_lists(&rows_now));
        }
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
        self.keep_state();
        self.keep_ready();
        report.committed = plan.words.len();
        report.wrapped = plan.wrapped;
        self.report(report);
    }

    /// What counts, and for whom, from now on.
    fn keep_state(&mut self) {
        self.standstill.end();
        if let Some(wanted) = &self.wanted {
            self.denied.clone_from(&wanted.denied);
        }
        let effective = &self.effective;
        let last: Versions = effective.last_good(&self.good).cloned().collect();
        let is_free = |subject: &Subject| {
            let mut selected = subject.selected_by(&effective.waiting);
            selected.next().is_none() && subject.selected_by(&last).next().is_none()
        };
        self.held.settle(&self.locals, |local| {
            local.subject.as_deref().is_some_and(is_free)
        });
        let does_not_count = |name: &ObjectName| {
            effective.waiting.contains_key(name) || effective.refused.contains_key(name)
        };
        self.waits.retain(does_not_count);
        self.good = effective.as_ever(&self.good);
    }

    fn keep_ready(&mut self) {
        let is_known = |id: &&u32| !self.denied.unknown.contains_key(*id);
        self.ready = self.locals.keys().filter(is_known).copied().collect();
    }

    /// What is not as the cluster asks, as long as it is so.
    pub(super) fn report(&self, report: &mut PolicyReport) {
        report.unknown.clone_from(&self.denied.unknown);
        // At a standstill one may be in force that neither waits nor is refused any more: what takes its place waits.
        (report.refused, report.waits) = self
            .closing()
            .into_iter()
            .partition(|(name, _)| self.effective.refused.contains_key(name));
        report.wanting = self.back_off.wanting();
        let standstill = self.standstill.since.as_ref();
        report.standstill = standstill.map(|(_, why)| why.clone());
    }

    /// The policies that are refused, or wait, and select pods of this node: those that are denied for it.
    fn closing(&self) -> BTreeMap<ObjectName, Refusal> {
        let mut closing: BTreeMap<ObjectName, Refusal> = BTreeMap::new();
        let why = || Refusal::new(self.back_off.why());
        for (name, version) in self.effective.waiting.iter() {
            if self.good.get(name) != Some(version) {
                closing.insert(name.clone(), why());
            }
        }
        for (id, by) in &self.denied.closed {
            let pod = self.locals.get(id).map(|local| &local.pod);
            for (direction, policy) in Direction::BOTH.into_iter().zip(by) {
                let (Some(policy), Some(pod)) = (policy, pod) else {
                    continue;
                };
                let refusal = closing.entry(policy.clone()).or_insert_with(why);
                refusal.closed.push((pod.clone(), direction));
            }
        }
        closing
    }

    /// Frees lists that cells of rows in force no longer name, after a grace period.
    fn shed_lists(&mut self, rows: &BTreeSet<RowHandle>) -> Vec<RowHandle> {
        let (kernel, all) = (&self.kernel, &mut self.rows);
        let classes: Vec<_> = kernel.classes.in_use().collect();
        let mut shed = Vec::new();
        for handle in rows {
            let Some(row) = all.all.get_mut(handle).filter(|row| row.key.is_some()) else {
                continue;
            };
            let cells = classes
                .iter()
                .filter(|class| **class < row.place.capacity());
            let cells = cells.map(|class| Cell::unpack(kernel.cells.get(row.place.index(*class))));
            let named = cells.filter(|cell| cell.kind == LIST).map(|cell| cell.list);
            if let Some(husk) = row.shed(&named.collect()) {
                shed.push(all.add(husk));
            }
        }
        shed
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
