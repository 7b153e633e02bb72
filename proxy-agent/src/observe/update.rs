//! What a source tells the store.

use std::{fmt, sync::Arc, time::SystemTime};

use crate::model::{EndpointSlice, Kind, Namespace, NetworkPolicy, Node, ObjectName, Pod, Service};

/// One step of a source.
#[derive(Clone, Debug)]
pub enum Update {
    /// An object is new or has changed.
    Apply(Box<Converted>),
    /// An object is gone.
    Delete(Kind, ObjectName),
    /// Relist: a whole list, objects of this kind that are not in it are gone. Replaces the old ones in one step.
    Replace(Kind, Vec<Converted>),
}

/// An object as it came over the border.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: ObjectName,
    /// The object without its invalid parts; none if nothing of it can be used, in which case the last good
    /// one stays.
    pub object: Option<Object>,
    /// When the change happened that led to this version (annotation
    /// `endpoints.kubernetes.io/last-change-trigger-time` of slices).
    pub triggered: Option<SystemTime>,
    /// What was invalid.
    pub problems: Vec<Problem>,
}

/// An object of the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A Service.
    Service(Service),
    /// An `EndpointSlice`.
    EndpointSlice(EndpointSlice),
    /// A Pod.
    Pod(Arc<Pod>),
    /// A Namespace.
    Namespace(Namespace),
    /// A `NetworkPolicy`.
    NetworkPolicy(NetworkPolicy),
    /// A Node.
    Node(Box<Node>),
}

/// An invalid field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, as in `spec.clusterIPs[0]`.
    pub field: String,
    /// What is wrong with it, with the value.
    pub reason: String,
}

impl Problem {
    /// A problem of a field.
    pub fn new(field: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            field: field.into(),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}
