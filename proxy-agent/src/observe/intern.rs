//! Shares equal texts and placements between objects: ten thousand Services name few namespaces, ports,
//! nodes and zones.

use std::{
    borrow::Borrow,
    collections::HashSet,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use crate::model::{EndpointPort, ObjectName, Placement, ServicePort};

/// A pool of shared values, for all converters of a source.
#[derive(Debug, Default)]
pub struct Interner {
    texts: Mutex<Pool<str>>,
    placements: Mutex<Pool<Placement>>,
    service_ports: Mutex<Pool<[ServicePort]>>,
    endpoint_ports: Mutex<Pool<[EndpointPort]>>,
}

impl Interner {
    /// The shared copy of a text.
    pub fn text(&self, text: &str) -> Arc<str> {
        shared(&self.texts, text)
    }

    /// A name.
    pub fn name(&self, namespace: &str, name: &str) -> ObjectName {
        ObjectName::new(namespace, name)
    }

    /// The shared copy of a placement.
    pub fn placement(&self, placement: Placement) -> Arc<Placement> {
        let mut pool = self
            .placements
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        pool.get(&placement)
            .unwrap_or_else(|| pool.add(Arc::new(placement)))
    }

    /// The shared copy of a Service's ports.
    pub fn service_ports(&self, ports: &[ServicePort]) -> Arc<[ServicePort]> {
        shared(&self.service_ports, ports)
    }

    /// The shared copy of a slice's ports.
    pub fn endpoint_ports(&self, ports: &[EndpointPort]) -> Arc<[EndpointPort]> {
        shared(&self.endpoint_ports, ports)
    }
}

fn shared<'a, T>(pool: &Mutex<Pool<T>>, value: &'a T) -> Arc<T>
where
    T: ?Sized + Eq + Hash,
    Arc<T>: Borrow<T> + From<&'a T>,
{
    let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
    pool.get(value).unwrap_or_else(|| pool.add(value.into()))
}

#[derive(Debug)]
struct Pool<T: ?Sized> {
    values: HashSet<Arc<T>>,
    sweep_at: usize,
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self {
            values: HashSet::new(),
            sweep_at: 1024,
        }
    }
}

impl<T: ?Sized + Eq + Hash> Pool<T> {
    fn get(&self, value: &T) -> Option<Arc<T>>
    where
        Arc<T>: Borrow<T>,
    {
        self.values.get(value).cloned()
    }

    /// Adds a value; now and then drops those that nobody else holds (names of nodes come and go).
    fn add(&mut self, value: Arc<T>) -> Arc<T> {
        if self.values.len() >= self.sweep_at {
            self.values.retain(|v| Arc::strong_count(v) > 1);
            self.sweep_at = (self.values.len() * 2).max(1024);
        }
        self.values.insert(Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shared_and_swept() {
        let interner = Interner::default();
        let kept = interner.text("kept");
        assert!(Arc::ptr_eq(&kept, &interner.text("kept")));
        for i in 0..5000 {
            interner.text(&i.to_string());
        }
        assert!(interner.texts.lock().unwrap().values.len() <= 1025);
        assert!(Arc::ptr_eq(&kept, &interner.text("kept")));
    }
}
