//! Policies as they were at some time, so that the last good one can stay in force.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    ops::Deref,
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

/// All policies by name, each in one version. Copies are one tree until one of them changes: what is observed mostly counts,
/// and is in force.
#[derive(Clone, Debug, Default)]
pub struct Versions(Arc<BTreeMap<ObjectName, Arc<PolicyVersion>>>);

impl Versions {
    /// Adds a version under the policy's name, or puts it in the place of another.
    pub fn set(&mut self, version: &Arc<PolicyVersion>) {
        let name = version.policy.name.clone();
        Arc::make_mut(&mut self.0).insert(name, Arc::clone(version));
    }

    /// Adds all of these likewise.
    pub fn set_all(&mut self, others: &Self) {
        others.values().for_each(|version| self.set(version));
    }

    /// Removes a policy.
    pub fn remove(&mut self, name: &ObjectName) {
        if self.contains_key(name) {
            Arc::make_mut(&mut self.0).remove(name);
        }
    }
}

impl Deref for Versions {
    type Target = BTreeMap<ObjectName, Arc<PolicyVersion>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl FromIterator<Arc<PolicyVersion>> for Versions {
    fn from_iter<I: IntoIterator<Item = Arc<PolicyVersion>>>(versions: I) -> Self {
        let named = |version: Arc<PolicyVersion>| (version.policy.name.clone(), version);
        Self(Arc::new(versions.into_iter().map(named).collect()))
    }
}

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
        let is_same = |version: &PolicyVersion, policy: &Arc<NetworkPolicy>| {
            Arc::ptr_eq(&version.policy, policy) || version.policy == *policy
        };
        let known = self.versions.values();
        let is_known = |(version, policy): (&Arc<PolicyVersion>, _)| is_same(version, policy);
        if known.len() == policies.len() && known.zip(policies.values()).all(is_known) {
            return false;
        }
        let before = std::mem::take(&mut self.versions);
        let versions = policies.iter().map(|(name, policy)| {
            let known = before.get(name).filter(|v| is_same(v, policy));
            known.map_or_else(|| self.number(policy), Arc::clone)
        });
        self.versions = versions.collect();
        true
    }

    fn number(&mut self, policy: &Arc<NetworkPolicy>) -> Arc<PolicyVersion> {
        self.next += 1;
        Arc::new(PolicyVersion {
            number: self.next,
            policy: Arc::clone(policy),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::{Observed, Versions};
    use crate::model::{LabelSelector, NetworkPolicy, ObjectName};

    #[test]
    fn a_copy_is_the_same_tree_until_one_changes() {
        let names = ["a", "b"].map(|name| ObjectName::new("x", name));
        let policy = |name: &ObjectName| NetworkPolicy {
            name: name.clone(),
            pod_selector: LabelSelector::default(),
            ingress: None,
            egress: None,
        };
        let mut policies: BTreeMap<_, _> = names
            .iter()
            .map(|name| (name.clone(), Arc::new(policy(name))))
            .collect();
        let mut observed = Observed::default();
        assert!(observed.update(&policies) && !observed.update(&policies));
        let mut copy = observed.versions.clone();
        copy.remove(&ObjectName::new("x", "c"));
        assert!(Arc::ptr_eq(&copy.0, &observed.versions.0));
        copy.remove(&names[0]);
        assert_eq!((copy.len(), observed.versions.len()), (1, 2));
        copy.set_all(&observed.versions);
        let all: Versions = observed.versions.values().cloned().collect();
        assert_eq!((copy.len(), all.len()), (2, 2));
        let kept = Arc::clone(&observed.versions[&names[1]]);
        policies.remove(&names[0]);
        assert!(observed.update(&policies));
        assert_eq!(observed.versions.values().collect::<Vec<_>>(), [&kept]);
    }
}
