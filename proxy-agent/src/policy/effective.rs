//! Which version of each policy counts: the observed one, or the last good one where that cannot be
//! compiled whole.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    atoms::Atoms,
    cookie::Cookies,
    intervals::TooLong,
    row::{Program, RowKey},
    vector::Vector,
    version::{PolicyVersion, Versions},
};
use crate::model::ObjectName;

/// Versions that count, and those that were refused.
#[derive(Debug, Default)]
pub struct Effective {
    /// What counts.
    pub versions: Versions,
    /// Observed versions that do not, and why.
    pub refused: BTreeMap<ObjectName, (Arc<PolicyVersion>, TooLong)>,
}

impl Effective {
    /// Everything as observed.
    pub fn new(observed: &Versions) -> Self {
        Self {
            versions: observed.clone(),
            refused: BTreeMap::new(),
        }
    }

    /// Refuses a version: its policy falls back to the last good version, or out.
    pub fn refuse(&mut self, version: &Arc<PolicyVersion>, why: TooLong, good: &Versions) {
        let name = &version.policy.name;
        self.refused
            .insert(name.clone(), (Arc::clone(version), why));
        match good.get(name) {
            Some(before) => self.versions.insert(name.clone(), Arc::clone(before)),
            None => self.versions.remove(name),
        };
    }

    /// Versions that are refused with no good one to fall back to.
    pub fn lost(&self, good: &Versions) -> Versions {
        let lost = self
            .refused
            .iter()
            .filter(|(name, _)| !good.contains_key(*name));
        lost.map(|(name, (version, _))| (name.clone(), Arc::clone(version)))
            .collect()
    }
}

/// Finds the versions in a row that make some class's list too long: those that are not good yet and that
/// exceed the limit when they join the rest, in the order of their names.
pub fn culprits(
    key: &RowKey,
    good: &Versions,
    atoms: &Atoms,
    vectors: &[&Vector],
) -> Vec<(Arc<PolicyVersion>, TooLong)> {
    let is_good = |v: &&Arc<PolicyVersion>| good.get(&v.policy.name) == Some(*v);
    let mut row = RowKey {
        direction: key.direction,
        policies: key.policies.iter().filter(is_good).cloned().collect(),
        bindings: key.bindings.clone(),
    };
    if overflow(&row, atoms, vectors).is_some() {
        return Vec::new();
    }
    let mut culprits = Vec::new();
    for version in key.policies.iter().filter(|v| !is_good(v)) {
        row.policies.push(Arc::clone(version));
        if let Some(too_long) = overflow(&row, atoms, vectors) {
            row.policies.pop();
            culprits.push((Arc::clone(version), too_long));
        }
    }
    culprits
}

/// The first list that is too long.
pub fn overflow(key: &RowKey, atoms: &Atoms, vectors: &[&Vector]) -> Option<TooLong> {
    let program = Program::of(key, atoms, &mut Cookies::default());
    if !program.may_overflow() {
        return None;
    }
    let mut seen = std::collections::HashSet::new();
    vectors
        .iter()
        .map(|vector| program.matches(vector))
        .filter(|held| seen.insert(held.clone()))
        .find_map(|held| program.content(&held).err())
}
