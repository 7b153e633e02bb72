//! Who wants frontends.

use std::{fmt, sync::Arc};

use crate::model::{Kind, ObjectName};

/// A Service, or a pod of this node by its `hostPort`s. Services come first, in order and in precedence.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A Service.
    Service(ObjectName),
    /// A pod of this node, `namespace/name`.
    Pod(Arc<str>),
}

/// At ten thousand Services there are many of these: a name and a word.
const _: () = assert!(size_of::<Owner>() <= size_of::<ObjectName>() + size_of::<usize>());

impl Owner {
    /// With its kind, to begin a message.
    pub fn in_words(&self) -> String {
        match self {
            Self::Service(name) => format!("Service {name}"),
            Self::Pod(pod) => format!("hostPort of pod {pod}"),
        }
    }

    /// The pod, `namespace/name`, if it is one.
    pub fn pod(&self) -> Option<&str> {
        match self {
            Self::Service(_) => None,
            Self::Pod(pod) => Some(pod),
        }
    }

    /// The object in the API.
    pub fn object(&self) -> (Kind, ObjectName) {
        match self {
            Self::Service(name) => (Kind::Service, name.clone()),
            Self::Pod(pod) => {
                let (namespace, name) = pod.split_once('/').unwrap_or_default();
                (Kind::Pod, ObjectName::new(namespace, name))
            }
        }
    }

    /// Whether it gives way to another one who wants the same frontend.
    pub const fn yields_to(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Pod(_), Self::Service(_)))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => name.fmt(f),
            Self::Pod(pod) => write!(f, "pod/{pod}"),
        }
    }
}
