//! The cluster as Weir sees it: our own types, nothing of kube behind this line.
//!
//! Values are parsed and validated once, in `observe`; from here on an address is an address. A
//! [`Snapshot`] is one consistent view of all stores.

pub mod dirty;
pub mod endpoints;
pub mod network_policy;
pub mod node;
pub mod pod;
pub mod selector;
pub mod service;
pub mod slice;
pub mod snapshot;

pub use dirty::{Dirty, Stamp};
pub use endpoints::{Conditions, Endpoint, Endpoints, Placement};
pub use network_policy::{NetworkPolicy, Peer, PolicyPort, PolicyRule};
pub use node::Node;
pub use pod::{ContainerPort, Namespace, Pod};
pub use selector::{LabelSelector, Labels, Operator, Requirement};
pub use service::{Protocol, Service, ServicePort, ServiceType, TrafficDistribution};
pub use slice::{EndpointPort, EndpointSlice};
pub use snapshot::{Completeness, Kind, Snapshot};

use std::{fmt, sync::Arc};

/// Namespace and name of an object. Shared text: a copy costs no memory, and at ten thousand Services there
/// are many copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectName {
    /// A name in a namespace.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}
