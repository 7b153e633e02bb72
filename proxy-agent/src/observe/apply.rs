//! Applies updates to the snapshot and notes which names they touch.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
    time::SystemTime,
};

use super::{Converted, Object, Update, store::Problems};
use crate::model::{Dirty, EndpointSlice, Kind, ObjectName, Snapshot, Stamp};

/// The snapshot, and what is needed to keep it.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) snapshot: Snapshot,
    pub(super) problems: Problems,
    /// Slices by their own name: a delete names the slice, and its Service label may have changed.
    slices: HashSet<ByName>,
    /// Trigger times before this belong to changes that the agent was not there for.
    started: SystemTime,
}

/// A slice that is found by its name, which is thus held once.
#[derive(Debug)]
struct ByName(Arc<EndpointSlice>);

impl Borrow<ObjectName> for ByName {
    fn borrow(&self) -> &ObjectName {
        &self.0.name
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

impl Default for Observed {
    fn default() -> Self {
        Self {
            snapshot: Snapshot::default(),
            problems: Problems::default(),
            slices: HashSet::new(),
            started: SystemTime::now(),
        }
    }
}

impl Observed {
    pub(super) fn update(&mut self, update: Update, dirty: &mut Dirty) {
        match update {
            Update::Apply(converted) => self.apply(converted, dirty),
            Update::Delete(kind, name) => self.delete(kind, &name, dirty),
            Update::Replace(kind, objects) => self.replace(kind, objects, dirty),
        }
    }

    fn replace(&mut self, kind: Kind, objects: Vec<Converted>, dirty: &mut Dirty) {
        let listed: BTreeSet<ObjectName> = objects.iter().map(|o| o.name.clone()).collect();
        for name in self.names(kind) {
            if !listed.contains(&name) {
                self.delete(kind, &name, dirty);
            }
        }
        self.problems
            .retain(|(k, name), _| *k != kind || listed.contains(name));
        for object in objects {
            self.apply(object, dirty);
        }
        self.snapshot.complete.0.insert(kind);
    }

    fn names(&self, kind: Kind) -> Vec<ObjectName> {
        let s = &self.snapshot;
        match kind {
            Kind::Service => s.services.keys().cloned().collect(),
            Kind::EndpointSlice => self.slices.iter().map(|s| s.0.name.clone()).collect(),
            Kind::Pod => s.pods.keys().cloned().collect(),
            Kind::NetworkPolicy => s.policies.keys().cloned().collect(),
            Kind::Namespace => s.namespaces.keys().map(cluster_scoped).collect(),
            Kind::Node => s.nodes.keys().map(cluster_scoped).collect(),
        }
    }

    fn apply(&mut self, converted: Converted, dirty: &mut Dirty) {
        let Converted {
            kind,
            name,
            object,
            problems,
        } = converted;
        if problems.is_empty() {
            self.problems.remove(&(kind, name.clone()));
        } else {
            let known = self.problems.insert((kind, name.clone()), problems.clone());
            if known.as_ref() != Some(&problems) {
                for problem in &problems {
                    tracing::warn!(%kind, %name, "invalid {problem}");
                }
            }
        }
        let snapshot = &mut self.snapshot;
        match object {
            None => {} // The last good one stays.
            Some(Object::EndpointSlice(new)) => self.apply_slice(&name, new, dirty),
            Some(Object::Service(new)) => {
                let changed = put(&mut snapshot.services, &name, new);
                changed.then(|| dirty.service(&name, Stamp::now()));
            }
            Some(Object::Pod(new)) => {
                let changed = put(&mut snapshot.pods, &name, new);
                dirty.pods.extend(changed.then_some(name));
            }
            Some(Object::NetworkPolicy(new)) => {
                let changed = put(&mut snapshot.policies, &name, new);
                dirty.policies.extend(changed.then_some(name));
            }
            Some(Object::Namespace(new)) => {
                let changed = put(&mut snapshot.namespaces, &name.name, new);
                dirty.namespaces.extend(changed.then_some(name.name));
            }
            Some(Object::Node(new)) => {
                let changed = put(&mut snapshot.nodes, &name.name, new);
                dirty.nodes.extend(changed.then_some(name.name));
            }
        }
    }

    fn apply_slice(&mut self, name: &ObjectName, mut new: EndpointSlice, dirty: &mut Dirty) {
        let old = self.slices.get(name);
        if old.is_some_and(|old| old.0.serves_as(&new)) {
            return;
        }
        if old.is_some_and(|old| old.0.service != new.service) {
            self.delete(Kind::EndpointSlice, name, dirty);
        }
        // Shares the text of the Service's name with the Service.
        if let Some((key, _)) = self.snapshot.services.get_key_value(&new.service) {
            new.service = key.clone();
        }
        new.name = name.clone();
        let mut stamp = Stamp::now();
        stamp
            .triggers
            .extend(new.trigger_time.filter(|t| *t > self.started));
        dirty.service(&new.service, stamp);
        let new = Arc::new(new);
        let siblings = self.snapshot.slices.entry(new.service.clone()).or_default();
        match siblings.binary_search_by(|s| s.name.cmp(name)) {
            Ok(at) => siblings[at] = Arc::clone(&new),
            Err(at) => {
                siblings.reserve_exact(1);
                siblings.insert(at, Arc::clone(&new));
            }
        }
        self.slices.replace(ByName(new));
    }

    fn delete(&mut self, kind: Kind, name: &ObjectName, dirty: &mut Dirty) {
        self.problems.remove(&(kind, name.clone()));
        let snapshot = &mut self.snapshot;
        match kind {
            Kind::Service => {
                if snapshot.services.remove(name).is_some() {
                    dirty.service(name, Stamp::now());
                }
            }
            Kind::EndpointSlice => self.delete_slice(name, dirty),
            Kind::Pod => {
                if snapshot.pods.remove(name).is_some() {
                    dirty.pods.insert(name.clone());
                }
            }
            Kind::NetworkPolicy => {
                if snapshot.policies.remove(name).is_some() {
                    dirty.policies.insert(name.clone());
                }
            }
            Kind::Namespace => {
                if snapshot.namespaces.remove(&name.name).is_some() {
                    dirty.namespaces.insert(Arc::clone(&name.name));
                }
            }
            Kind::Node => {
                if snapshot.nodes.remove(&name.name).is_some() {
                    dirty.nodes.insert(Arc::clone(&name.name));
                }
            }
        }
    }

    fn delete_slice(&mut self, name: &ObjectName, dirty: &mut Dirty) {
        let Some(ByName(old)) = self.slices.take(name) else {
            return;
        };
        let slices = &mut self.snapshot.slices;
        if let Some(siblings) = slices.get_mut(&old.service) {
            siblings.retain(|s| s.name != *name);
            if siblings.is_empty() {
                slices.remove(&old.service);
            }
        }
        dirty.service(&old.service, Stamp::now());
    }
}

/// Puts an object under its name; true if that changed anything.
fn put<K: Ord + Clone, V: PartialEq>(map: &mut BTreeMap<K, Arc<V>>, name: &K, new: V) -> bool {
    match map.get_mut(name) {
        Some(old) if **old == new => false,
        Some(old) => {
            *old = Arc::new(new);
            true
        }
        None => {
            map.insert(name.clone(), Arc::new(new));
            true
        }
    }
}

fn cluster_scoped(name: &Arc<str>) -> ObjectName {
    ObjectName::new("", Arc::clone(name))
}
