//! Interning: shares equal values between objects: ten thousand Services name few namespaces, ports and zones.

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use arcstr::ArcStr;

use crate::model::{
    ContainerPort, EndpointPort, EndpointState, LabelSelector, Labels, ObjectName, Peer,
    PolicyPort, Requirement, ServicePort, SharedList,
};

/// A pool of shared values, for all converters of a source, and the node as seen from which they convert.
#[derive(Debug)]
pub struct Interner {
    here: Box<str>,
    texts: Mutex<Pool<Arc<str>>>,
    states: Mutex<Pool<SharedList<EndpointState>>>,
    service_ports: Mutex<Pool<SharedList<ServicePort>>>,
    endpoint_ports: Mutex<Pool<SharedList<EndpointPort>>>,
    labels: Mutex<Pool<Labels>>,
    nodes: Mutex<Pool<ArcStr>>,
    container_ports: Mutex<Pool<SharedList<ContainerPort>>>,
    requirements: Mutex<Pool<SharedList<Requirement>>>,
    policy_ports: Mutex<Pool<SharedList<PolicyPort>>>,
    peers: Mutex<Pool<SharedList<Peer>>>,
}

impl Interner {
    /// For what a node observes.
    pub fn new(node: &str) -> Self {
        Self {
            here: node.into(),
            texts: Mutex::default(),
            states: Mutex::default(),
            service_ports: Mutex::default(),
            endpoint_ports: Mutex::default(),
            labels: Mutex::default(),
            nodes: Mutex::default(),
            container_ports: Mutex::default(),
            requirements: Mutex::default(),
            policy_ports: Mutex::default(),
            peers: Mutex::default(),
        }
    }

    /// Name of this node.
    pub fn here(&self) -> &str {
        &self.here
    }

    /// The shared copy of a text.
    pub fn text(&self, text: &str) -> Arc<str> {
        let mut pool = lock(&self.texts);
        let known = pool.values.get(text).cloned();
        known.unwrap_or_else(|| pool.add(text.into()))
    }

    /// A name.
    pub fn name(&self, namespace: &str, name: &str) -> ObjectName {
        ObjectName::new(namespace, name)
    }

    /// The shared copy of the states of a slice's endpoints.
    pub fn states(&self, states: Vec<EndpointState>) -> SharedList<EndpointState> {
        shared(&self.states, states)
    }

    /// The shared copy of a Service's ports.
    pub fn service_ports(&self, ports: Vec<ServicePort>) -> SharedList<ServicePort> {
        shared(&self.service_ports, ports)
    }

    /// The shared copy of a slice's ports.
    pub fn endpoint_ports(&self, ports: Vec<EndpointPort>) -> SharedList<EndpointPort> {
        shared(&self.endpoint_ports, ports)
    }

    /// The shared copy of labels.
    pub fn labels(&self, labels: Labels) -> Labels {
        let mut pool = lock(&self.labels);
        let known = pool.values.get(&labels).cloned();
        known.unwrap_or_else(|| pool.add(labels))
    }

    /// The shared copy of a node's name.
    pub fn node(&self, name: &str) -> ArcStr {
        let mut pool = lock(&self.nodes);
        let known = pool.values.get(name).cloned();
        known.unwrap_or_else(|| pool.add(name.into()))
    }

    /// The shared copy of a pod's ports.
    pub fn container_ports(&self, ports: Vec<ContainerPort>) -> SharedList<ContainerPort> {
        shared(&self.container_ports, ports)
    }

    /// A selector, which is shared.
    pub fn selector(&self, requirements: Vec<Requirement>) -> LabelSelector {
        LabelSelector {
            requirements: shared(&self.requirements, requirements),
        }
    }

    /// The shared copy of a rule's ports.
    pub fn policy_ports(&self, ports: Vec<PolicyPort>) -> SharedList<PolicyPort> {
        shared(&self.policy_ports, ports)
    }

    /// The shared copy of a rule's peers.
    pub fn peers(&self, peers: Vec<Peer>) -> SharedList<Peer> {
        shared(&self.peers, peers)
    }
}

fn lock<T>(pool: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shared<T: Eq + Hash>(pool: &Mutex<Pool<SharedList<T>>>, list: Vec<T>) -> SharedList<T> {
    let mut pool = lock(pool);
    let known = pool.values.get(list.as_slice()).cloned();
    known.unwrap_or_else(|| pool.add(list.into()))
}

#[derive(Debug)]
struct Pool<T> {
    values: HashSet<T>,
    sweep_at: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            values: HashSet::new(),
            sweep_at: 1024,
        }
    }
}

impl<T: Shared + Clone + Eq + Hash> Pool<T> {
    /// Adds a value; now and then drops those that nobody else holds (zones and ports come and go).
    fn add(&mut self, value: T) -> T {
        if self.values.len() >= self.sweep_at {
            self.values.retain(|value| !value.is_last());
            self.sweep_at = (self.values.len() * 2).max(1024);
        }
        self.values.insert(value.clone());
        value
    }
}

/// A value that knows whether others hold it.
trait Shared {
    fn is_last(&self) -> bool;
}

impl Shared for Arc<str> {
    fn is_last(&self) -> bool {
        Self::strong_count(self) == 1
    }
}

impl Shared for ArcStr {
    fn is_last(&self) -> bool {
        Self::strong_count(self) == Some(1)
    }
}

impl Shared for Labels {
    fn is_last(&self) -> bool {
        Self::is_last(self)
    }
}

impl<T> Shared for SharedList<T> {
    fn is_last(&self) -> bool {
        Self::is_last(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shared_and_swept() {
        let interner = Interner::new("a");
        let kept = interner.text("kept");
        assert!(Arc::ptr_eq(&kept, &interner.text("kept")));
        for i in 0..5000 {
            interner.text(&i.to_string());
        }
        assert!(interner.texts.lock().unwrap().values.len() <= 1025);
        assert!(Arc::ptr_eq(&kept, &interner.text("kept")));
    }

    #[test]
    fn equal_lists_are_one() {
        let interner = Interner::new("a");
        let states = || interner.states(vec![EndpointState::default()]);
        assert!(states().is(&states()));
    }
}
