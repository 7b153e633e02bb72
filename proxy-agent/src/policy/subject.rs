//! Subjects: which policies select a pod of this node.

use std::{ops::Bound, sync::Arc};

use super::{
    Direction,
    row::RowKey,
    version::{PolicyVersion, Versions},
};
use crate::model::{ContainerPort, Labels, ObjectName, PolicyPort, SharedList};

/// A pod as policies select it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Labels.
    pub labels: Labels,
    /// Named ports.
    pub ports: SharedList<ContainerPort>,
}

impl Subject {
    /// The policies that select the pod, whatever their directions, by name.
    pub fn selected_by<'a>(
        &'a self,
        versions: &'a Versions,
    ) -> impl Iterator<Item = &'a Arc<PolicyVersion>> + 'a {
        let from = ObjectName::new(&self.namespace, "");
        versions
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(|(name, _)| name.namespace() == &*self.namespace)
            .map(|(_, version)| version)
            .filter(|version| self.is_selected_by(version))
    }

    /// Whether a policy selects the pod.
    pub fn is_selected_by(&self, version: &PolicyVersion) -> bool {
        let policy = &version.policy;
        policy.name.namespace() == &*self.namespace && policy.pod_selector.matches(&self.labels)
    }

    /// The pod's row key; none if no policy isolates it in this direction.
    pub fn row_key(&self, direction: Direction, versions: &Versions) -> Option<RowKey> {
        let isolates = |v: &&Arc<PolicyVersion>| direction.rules(&v.policy).is_some();
        let policies: Vec<_> = self
            .selected_by(versions)
            .filter(isolates)
            .cloned()
            .collect();
        if policies.is_empty() {
            return None;
        }
        let bindings = match direction {
            Direction::Ingress => self.bindings(&policies),
            Direction::Egress => Vec::new(),
        };
        Some(RowKey {
            direction,
            policies,
            bindings,
        })
    }

    fn bindings(&self, policies: &[Arc<PolicyVersion>]) -> Vec<ContainerPort> {
        let rules = policies
            .iter()
            .flat_map(|v| v.policy.ingress.iter().flatten());
        let ports: Vec<_> = rules.flat_map(|rule| &rule.ports).collect();
        let is_used = |own: &&ContainerPort| {
            ports.iter().any(|port| match port {
                PolicyPort::Named(p, name) => *p == own.protocol && *name == own.name,
                PolicyPort::All(_) | PolicyPort::Range(..) => false,
            })
        };
        let mut bindings: Vec<_> = self.ports.iter().filter(is_used).cloned().collect();
        bindings.sort_unstable();
        bindings.dedup();
        bindings
    }
}
