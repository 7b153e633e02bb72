//! What is done where a map has no room for all that is wanted: policies give way, the pods that they select are denied,
//! and the rest goes on.

use std::{collections::HashSet, net::IpAddr, sync::Arc, time::Instant};

use super::PolicyEngine;
use crate::policy::{
    PolicyError,
    effective::{Room, Want, in_order},
    plan::{Change, Plan, Wanted, abandon},
    version::{PolicyVersion, Versions},
};

impl PolicyEngine {
    /// Plans what is wanted; if that does not fit, the most of it that does.
    pub(super) fn fit(
        &mut self,
        now: Instant,
        all: bool,
        dirty: HashSet<IpAddr>,
    ) -> Result<(Change, Plan), PolicyError> {
        let room = self.room();
        let planned = self.wish(all, dirty);
        let Err(error) = planned else {
            if self.effective.refused.is_empty() {
                self.back_off.end();
            }
            return planned;
        };
        if !error.is_want_of_room() {
            return Err(error);
        }
        self.give_way(&error).map(|(want, planned)| {
            self.back_off.note(now, room, want);
            planned
        })
    }

    /// Whether policies that were refused are to be tried again; then they count again.
    pub(super) fn retry(&mut self, now: Instant) -> bool {
        let due = self.back_off.is_due(now, self.room());
        if due {
            self.effective.readmit();
            self.wanted = None;
        }
        due
    }

    /// Refuses policies until the rest fits: as few as may be, but for those that are smaller than a refused one.
    fn give_way(&mut self, error: &PolicyError) -> Result<(Want, (Change, Plan)), PolicyError> {
        let order = in_order(&self.in_use(), &self.good);
        let (mut enough, mut too_few, mut want) = (1, 0, Want::default());
        want.note(error);
        while let Err(error) = self.try_without(&order, enough) {
            if enough >= order.len() || !error.is_want_of_room() {
                return Err(error);
            }
            want.note(&error);
            too_few = enough;
            enough = (2 * enough).min(order.len());
        }
        while enough - too_few > 1 {
            let middle = usize::midpoint(too_few, enough);
            match self.try_without(&order, middle) {
                Ok(()) => enough = middle,
                Err(error) if error.is_want_of_room() => {
                    want.note(&error);
                    too_few = middle;
                }
                Err(error) => return Err(error),
            }
        }
        self.refuse(&order[..enough]);
        Ok((want, self.wish(true, HashSet::new())?))
    }

    fn try_without(
        &mut self,
        order: &[Arc<PolicyVersion>],
        count: usize,
    ) -> Result<(), PolicyError> {
        let (refused, rest) = order.split_at(count.min(order.len()));
        self.refuse(refused);
        let planned = self.wish(true, HashSet::new());
        for version in rest.iter().chain(refused) {
            let name = version.policy.name.clone();
            self.effective.refused.remove(&name);
            self.effective.versions.insert(name, Arc::clone(version));
        }
        self.wanted = None;
        let (_, plan) = planned?;
        abandon(&plan, &mut self.kernel, &mut self.rows, &mut self.lists);
        Ok(())
    }

    fn refuse(&mut self, versions: &[Arc<PolicyVersion>]) {
        self.effective.refuse(versions);
        self.wanted = None;
    }

    fn wish(&mut self, all: bool, dirty: HashSet<IpAddr>) -> Result<(Change, Plan), PolicyError> {
        let change = self.desire(all, dirty);
        let plan = self.plan(&change)?;
        Ok((change, plan))
    }

    /// The policies that judge pods of this node.
    fn in_use(&self) -> Versions {
        let rows = self.wanted.iter().flat_map(|wanted| wanted.rows.values());
        let keys = rows.flatten().filter_map(|wanted| match wanted {
            Wanted::Row(key) => Some(key),
            Wanted::Deny | Wanted::Allow => None,
        });
        let versions = keys.flat_map(|key| &key.policies);
        versions
            .map(|v| (v.policy.name.clone(), Arc::clone(v)))
            .collect()
    }

    /// How much more the maps can hold.
    pub(super) fn room(&self) -> Room {
        let (cells, all_cells) = self.rows.usage();
        let (blocks, all_blocks) = self.lists.usage();
        let cidrs = self.kernel.cidr_room(&self.reclaim);
        Room {
            cells: all_cells - cells,
            blocks: all_blocks - blocks,
            cidrs: [false, true].map(|ipv6| {
                let there = self.kernel.cidrs.of_family(ipv6) as u32;
                cidrs[usize::from(ipv6)].saturating_sub(there)
            }),
        }
    }
}
