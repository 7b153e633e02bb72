//! What has changed since the stores were last read, and since when.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::ObjectName;

/// Trigger times that are kept of a Service which waits: it may change for as long as it is refused.
const TRIGGERS: usize = 64;

/// The names that changes have touched. The objects themselves are in the snapshot, or gone from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Services that changed or whose slices changed.
    pub services: BTreeMap<ObjectName, Stamp>,
    /// Pods.
    pub pods: BTreeSet<ObjectName>,
    /// Namespaces.
    pub namespaces: BTreeSet<Arc<str>>,
    /// Policies.
    pub policies: BTreeSet<ObjectName>,
    /// Nodes.
    pub nodes: BTreeSet<Arc<str>>,
}

/// When a change of a Service became known: what `network_programming_duration` is measured from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When the first of the merged watch events arrived here.
    pub arrived: Instant,
    /// Of the slices that changed after the agent started.
    pub triggers: Vec<Trigger>,
    /// Changes of the Service itself.
    pub services: u32,
    /// Changes of its slices.
    pub slices: u32,
}

/// What made the endpoints of a slice change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// `endpoints.kubernetes.io/last-change-trigger-time`.
    pub at: SystemTime,
    /// The slice is of IPv6.
    pub ipv6: bool,
}

impl Stamp {
    /// Something has arrived now that is no change of the Service or its slices.
    pub fn now() -> Self {
        Self {
            arrived: Instant::now(),
            triggers: Vec::new(),
            services: 0,
            slices: 0,
        }
    }

    /// A change of the Service has arrived now.
    pub fn service() -> Self {
        Self {
            services: 1,
            ..Self::now()
        }
    }

    /// A change of a slice has arrived now.
    pub fn slice(trigger: Option<Trigger>) -> Self {
        Self {
            triggers: trigger.into_iter().collect(),
            slices: 1,
            ..Self::now()
        }
    }

    /// Merges another change of the same Service.
    pub fn merge(&mut self, other: Self) {
        self.arrived = self.arrived.min(other.arrived);
        self.triggers.extend(other.triggers);
        self.triggers.truncate(TRIGGERS);
        self.services += other.services;
        self.slices += other.slices;
    }
}

impl Dirty {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        let Self {
            services,
            pods,
            namespaces,
            policies,
            nodes,
        } = self;
        services.is_empty()
            && pods.is_empty()
            && namespaces.is_empty()
            && policies.is_empty()
            && nodes.is_empty()
    }

    /// How many names are marked.
    pub fn len(&self) -> usize {
        let Self {
            services,
            pods,
            namespaces,
            policies,
            nodes,
        } = self;
        services.len() + pods.len() + namespaces.len() + policies.len() + nodes.len()
    }

    /// Marks a Service.
    pub fn service(&mut self, name: &ObjectName, stamp: Stamp) {
        match self.services.get_mut(name) {
            Some(known) => known.merge(stamp),
            None => {
                self.services.insert(name.clone(), stamp);
            }
        }
    }

    /// Adds what another set marks.
    pub fn merge(&mut self, other: Self) {
        for (name, stamp) in other.services {
            self.service(&name, stamp);
        }
        self.pods.extend(other.pods);
        self.namespaces.extend(other.namespaces);
        self.policies.extend(other.policies);
        self.nodes.extend(other.nodes);
    }
}
