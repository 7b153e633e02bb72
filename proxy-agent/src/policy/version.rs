//! Policies as they were at some time, so that the last good one can stay in force.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use crate::model::{NetworkPolicy, ObjectName};

/// One content of one policy. Versions are equal if their numbers are.
#[derive(Clone, Debug)]
pub struct PolicyVersion {
    /// Unique within this process.
    pub number: u64,
    /// The policy.
    pub policy: Arc<NetworkPolicy>,
}

impl PartialEq for PolicyVersion {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for PolicyVersion {}

impl Hash for PolicyVersion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

/// All policies by name, each in one version.
pub type Versions = BTreeMap<ObjectName, Arc<PolicyVersion>>;

/// Numbers the versions of observed policies.
#[derive(Debug, Default)]
pub struct Observed {
    /// The versions seen last.
    pub versions: Versions,
    next: u64,
}

impl Observed {
    /// Takes over what is observed now; tells whether anything differs.
    pub fn update(&mut self, policies: &BTreeMap<ObjectName, Arc<NetworkPolicy>>) -> bool {
        let before = self.versions.len();
        self.versions.retain(|name, _| policies.contains_key(name));
        let mut changed = self.versions.len() != before;
        for (name, policy) in policies {
            let known = self.versions.get(name);
            if known.is_some_and(|v| Arc::ptr_eq(&v.policy, policy) || v.policy == *policy) {
                continue;
            }
            self.next += 1;
            let version = PolicyVersion {
                number: self.next,
                policy: Arc::clone(policy),
            };
            self.versions.insert(name.clone(), Arc::new(version));
            changed = true;
        }
        changed
    }
}
