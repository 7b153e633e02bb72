//! What should be: from what is observed to the change that a plan carries out.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Direction, PolicyEngine,
    compiled::{Compiled, Want},
    effective::{culprits, overflow},
    plan::{Change, Wanted},
    row::RowKey,
    subject::Subject,
    version::Versions,
};

/// How often policies are refused and the rest compiled again, before what is left is taken as it is.
const ROUNDS: usize = 16;

impl PolicyEngine {
    /// Compiles what should be. `all`: peers must be compiled anew, whatever the policies.
    pub(super) fn desire(&mut self, all: bool, dirty: HashSet<IpAddr>) -> Change {
        let mut rows = self.wanted_rows();
        if !all && active(&rows) == self.active {
            return Change {
                all: false,
                addresses: self.want_addresses(dirty),
                prefixes: Vec::new(),
                endpoints: rows,
            };
        }
        let mut addresses = self.compile(&rows);
        for _ in 0..ROUNDS {
            if !self.refuse(&rows, &addresses) {
                break;
            }
            self.wanted = None;
            rows = self.wanted_rows();
            addresses = self.compile(&rows);
        }
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
        if let Some((rows, _)) = &self.wanted {
            return rows.clone();
        }
        let lost = self.effective.lost(&self.good);
        let mut keys: HashMap<RowKey, Arc<RowKey>> = HashMap::new();
        let mut rows = BTreeMap::new();
        let mut denied = BTreeMap::new();
        for (id, local) in &self.locals {
            let Some(subject) = &local.subject else {
                denied.insert(*id, format!("pod {} is not known", local.pod));
                rows.insert(*id, [Wanted::Deny, Wanted::Deny]);
                continue;
            };
            let wanted = Direction::BOTH.map(|direction| {
                if let Some(policy) = self.deny_for(*id, subject, direction, &lost) {
                    denied.insert(*id, policy);
                    return Wanted::Deny;
                }
                let key = subject.row_key(direction, &self.effective.versions);
                key.map_or(Wanted::Allow, |key| {
                    let shared = keys
                        .entry(key)
                        .or_insert_with_key(|key| Arc::new(key.clone()));
                    Wanted::Row(Arc::clone(shared))
                })
            });
            rows.insert(*id, wanted);
        }
        self.wanted = Some((rows.clone(), denied));
        rows
    }

    /// An endpoint that has had no good policy yet is denied if a policy that selects it has no good version.
    fn deny_for(
        &self,
        id: u32,
        subject: &Subject,
        direction: Direction,
        lost: &Versions,
    ) -> Option<String> {
        if self.ready(id) {
            return None;
        }
        let mut selecting = subject.selected_by(lost);
        let version = selecting.find(|v| direction.rules(&v.policy).is_some())?;
        let name = &version.policy.name;
        Some(format!("policy {name} was refused and has no good version"))
    }

    /// Refuses policies whose lists are too long; tells whether there were any.
    fn refuse(&mut self, rows: &BTreeMap<u32, [Wanted; 2]>, wants: &[(IpAddr, Want)]) -> bool {
        let used: BTreeSet<_> = wants.iter().map(|(_, want)| want.vector).collect();
        let ranges = self
            .compiled
            .regions
            .iter()
            .map(|(_, region)| region.vector);
        let used: BTreeSet<_> = used.into_iter().chain(ranges).collect();
        let vectors: Vec<_> = used.iter().map(|v| self.compiled.vectors.get(*v)).collect();
        let mut found = false;
        for key in keys(rows) {
            if overflow(key, &self.compiled.atoms, &vectors).is_none() {
                continue;
            }
            for (version, why) in culprits(key, &self.good, &self.compiled.atoms, &vectors) {
                self.effective.refuse(&version, why, &self.good);
                found = true;
            }
        }
        found
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
