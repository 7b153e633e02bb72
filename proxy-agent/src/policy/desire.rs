//! What should be: from what is observed to the change that a plan carries out.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Direction, PolicyEngine,
    compiled::{Compiled, Want},
    engine::WantedOfAll,
    plan::{Change, Wanted},
    row::RowKey,
    subject::Subject,
};
use crate::model::ObjectName;

impl PolicyEngine {
    /// Compiles what should be. `all`: peers must be compiled anew, whatever the policies.
    pub(super) fn desire(&mut self, all: bool, dirty: HashSet<IpAddr>) -> Change {
        let rows = self.wanted_rows();
        if !all && active(&rows) == self.active {
            return Change {
                all: false,
                addresses: self.want_addresses(dirty),
                prefixes: Vec::new(),
                endpoints: rows,
            };
        }
        let addresses = self.compile(&rows);
        self.active = active(&rows);
        Change {
            all: true,
            addresses,
            prefixes: self.want_prefixes(),
            endpoints: rows,
        }
    }

    fn compile(&mut self, rows: &BTreeMap<u32, [Wanted; 2]>) -> Vec<(IpAddr, Want)> {
        let keys = keys(rows);
        let keys = keys.iter().map(|k| &***k);
        self.compiled = Compiled::of(keys, &self.namespaces, &self.addresses);
        let mut all = self.addresses.all();
        all.extend(self.kernel.peers.keys());
        self.want_addresses(all)
    }

    fn want_addresses(&mut self, addresses: HashSet<IpAddr>) -> Vec<(IpAddr, Want)> {
        let compiled = &mut self.compiled;
        addresses
            .into_iter()
            .map(|a| (a, compiled.address(a, &self.addresses)))
            .collect()
    }

    fn want_prefixes(&self) -> Vec<(ipnetwork::IpNetwork, Want)> {
        let wanted = self.compiled.regions.iter().map(|(prefix, _)| prefix);
        let there = self.kernel.cidrs.iter().map(|(prefix, _)| prefix);
        let all: BTreeSet<_> = wanted.chain(there).collect();
        all.into_iter()
            .map(|prefix| (prefix, self.compiled.prefix(prefix)))
            .collect()
    }

    /// What should judge each endpoint. Equal keys are one object.
    fn wanted_rows(&mut self) -> BTreeMap<u32, [Wanted; 2]> {
        if let Some(wanted) = &self.wanted {
            return wanted.rows.clone();
        }
        let mut keys: HashMap<RowKey, Arc<RowKey>> = HashMap::new();
        let mut all = WantedOfAll::default();
        let as_ever = self.effective.as_ever(&self.good);
        for (id, local) in &self.locals {
            let Some(subject) = &local.subject else {
                let why = format!("pod {} is not known", local.pod);
                all.denied.unknown.insert(*id, why);
                all.rows.insert(*id, [Wanted::Deny, Wanted::Deny]);
                continue;
            };
            let is_held = self.held.has(*id, local);
            let closed = Direction::BOTH.map(|d| self.closed_by(subject, d, is_held));
            let versions = if is_held {
                &as_ever
            } else {
                &self.effective.versions
            };
            let wanted = Direction::BOTH.map(|direction| {
                if closed[direction as usize].is_some() {
                    return Wanted::Deny;
                }
                let key = subject.row_key(direction, versions);
                key.map_or(Wanted::Allow, |key| {
                    let shared = keys
                        .entry(key)
                        .or_insert_with_key(|key| Arc::new(key.clone()));
                    Wanted::Row(Arc::clone(shared))
                })
            });
            all.rows.insert(*id, wanted);
            if closed.iter().any(Option::is_some) {
                all.denied.closed.insert(*id, closed);
            }
        }
        let rows = all.rows.clone();
        self.wanted = Some(all);
        rows
    }

    /// A policy that does not count and isolates a pod in this direction: one that is refused, or one that waits if the pod is
    /// not held.
    fn closed_by(
        &self,
        subject: &Subject,
        direction: Direction,
        is_held: bool,
    ) -> Option<ObjectName> {
        let refused = subject.selected_by(&self.effective.refused);
        let waiting = subject.selected_by(&self.effective.waiting);
        let mut closing = refused.chain(waiting.filter(|_| !is_held));
        let version = closing.find(|v| direction.rules(&v.policy).is_some())?;
        Some(version.policy.name.clone())
    }
}

fn keys(rows: &BTreeMap<u32, [Wanted; 2]>) -> HashSet<&Arc<RowKey>> {
    let wanted = rows.values().flatten();
    wanted
        .filter_map(|w| match w {
            Wanted::Row(key) => Some(key),
            Wanted::Deny | Wanted::Allow => None,
        })
        .collect()
}

fn active(rows: &BTreeMap<u32, [Wanted; 2]>) -> BTreeSet<u64> {
    let keys = keys(rows);
    let versions = keys.iter().flat_map(|key| &key.policies);
    versions.map(|v| v.number).collect()
}
