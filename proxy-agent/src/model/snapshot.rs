//! One consistent view of everything observed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{EndpointSlice, Few, Namespace, NetworkPolicy, Node, ObjectName, Pod, Service};

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

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::Namespace => "Namespace",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Node => "Node",
        })
    }
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
    /// Slices by the Service they belong to, in the order of their own names.
    pub slices: BTreeMap<ObjectName, Few<Arc<EndpointSlice>>>,
    /// Pods.
    pub pods: BTreeMap<ObjectName, Arc<Pod>>,
    /// Namespaces.
    pub namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
    /// Policies.
    pub policies: BTreeMap<ObjectName, Arc<NetworkPolicy>>,
    /// Nodes.
    pub nodes: BTreeMap<Arc<str>, Arc<Node>>,
    /// How many Services ask for packets to be relayed.
    pub relayed: usize,
    /// What has been listed whole.
    pub complete: Completeness,
    /// Kinds that the API server does not let us list.
    pub refused: BTreeSet<Kind>,
    /// Something has never been readable since the start (a broken manifest): what it may justify must not
    /// be pruned from the maps, though all the rest is programmed.
    pub partial: bool,
}

impl Snapshot {
    /// Whether what is known of Nodes is all that there will be.
    pub fn nodes_known(&self) -> bool {
        self.complete.has(&[Kind::Node]) || self.refused.contains(&Kind::Node)
    }

    /// The slices of a Service.
    pub fn slices_of(&self, service: &ObjectName) -> &[Arc<EndpointSlice>] {
        self.slices.get(service).map_or(&[], |slices| slices)
    }
}
