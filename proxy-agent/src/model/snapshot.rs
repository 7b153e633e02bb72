//! One consistent view of everything observed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{EndpointSlice, Namespace, NetworkPolicy, Node, ObjectName, Pod, Service};

/// The kinds that are observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Services.
    Service,
    /// `EndpointSlices`.
    EndpointSlice,
    /// Pods.
    Pod,
    /// Namespaces.
    Namespace,
    /// `NetworkPolicies`.
    NetworkPolicy,
    /// Nodes.
    Node,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::Namespace,
        Self::NetworkPolicy,
        Self::Node,
    ];
}

/// Which kinds have been listed whole at least once. Nothing is deleted from a map before all kinds that
/// could justify its entries are complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness(pub BTreeSet<Kind>);

impl Completeness {
    /// Whether all of these kinds are complete.
    pub fn has(&self, kinds: &[Kind]) -> bool {
        kinds.iter().all(|k| self.0.contains(k))
    }
}

/// Everything observed. Objects are shared, so that a copy of a snapshot is cheap.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Services.
    pub services: BTreeMap<ObjectName, Arc<Service>>,
    /// Slices, by the Service they belong to, then by their own name.
    pub slices: BTreeMap<ObjectName, BTreeMap<ObjectName, Arc<EndpointSlice>>>,
    /// Pods.
    pub pods: BTreeMap<ObjectName, Arc<Pod>>,
    /// Namespaces.
    pub namespaces: BTreeMap<String, Arc<Namespace>>,
    /// Policies.
    pub policies: BTreeMap<ObjectName, Arc<NetworkPolicy>>,
    /// Nodes.
    pub nodes: BTreeMap<String, Arc<Node>>,
    /// What has been listed whole.
    pub complete: Completeness,
}
