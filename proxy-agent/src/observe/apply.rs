//! Applies updates to the snapshot and notes which names they touch.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{Converted, Object, Update, nodes::Nodes, store::Problems};
use crate::model::{Dirty, EndpointSlice, Few, Kind, ObjectName, Snapshot, Stamp, Trigger, full};

/// The snapshot, and what is needed to keep it.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) snapshot: Snapshot,
    pub(super) problems: Problems,
    /// Slices by their own name: a delete names the slice, and its Service label may have changed.
    slices: BTreeSet<ByName>,
    /// Nodes as they say of themselves.
    pub(super) nodes: Nodes,
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

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name.cmp(&other.0.name)
    }
}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
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
            slices: BTreeSet::new(),
            nodes: Nodes::default(),
            started: SystemTime::now(),
        }
    }
}

impl Observed {
    pub(super) fn update(&mut self, update: Update, dirty: &mut Dirty) {
        match update {
            Update::Apply(converted) => self.apply(*converted, dirty),
            Update::Delete(kind, name) => self.delete(kind, &name, dirty),
            Update::Replace(kind, objects) => self.replace(kind, objects, dirty),
        }
    }

    /// To be called once all updates of a step are in.
    pub(super) fn settle(&mut self, dirty: &mut Dirty) {
        self.nodes.settle(&mut self.snapshot, dirty);
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
        match kind {
            Kind::Service => full(&mut self.snapshot.services),
            Kind::EndpointSlice => {
                full(&mut self.snapshot.slices);
                full(&mut self.slices);
            }
            Kind::Pod => full(&mut self.snapshot.pods),
            Kind::NetworkPolicy => full(&mut self.snapshot.policies),
            Kind::Namespace => {} // There are not as many of them.
            Kind::Node => self.nodes.listed(Instant::now()),
        }
        self.snapshot.complete.0.insert(kind);
        self.snapshot.refused.remove(&kind);
    }

    fn names(&self, kind: Kind) -> Vec<ObjectName> {
        let s = &self.snapshot;
        match kind {
            Kind::Service => s.services.keys().cloned().collect(),
            Kind::EndpointSlice => self.slices.iter().map(|s| s.0.name.clone()).collect(),
            Kind::Pod => s.pods.keys().cloned().collect(),
            Kind::NetworkPolicy => s.policies.keys().cloned().collect(),
            Kind::Namespace => s.namespaces.keys().map(cluster_scoped).collect(),
            Kind::Node => self.nodes.names().map(cluster_scoped).collect(),
        }
    }

    fn apply(&mut self, converted: Converted, dirty: &mut Dirty) {
        let Converted {
            kind,
            name,
            object,
            triggered,
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
            Some(Object::EndpointSlice(new)) => self.apply_slice(new, triggered, dirty),
            Some(Object::Service(mut new)) => {
                let known = snapshot.slices.get_key_value(&name);
                new.name = known.map_or(name, |(name, _)| name.clone()); // One text for both.
                let name = new.name.clone();
                let old = snapshot.services.get(&name);
                let asked = old.is_some_and(|old| old.asks_for_relay());
                snapshot.relayed -= usize::from(asked);
                snapshot.relayed += usize::from(new.asks_for_relay());
                let changed = put(&mut snapshot.services, &name, new);
                changed.then(|| dirty.service(&name, Stamp::service()));
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
                let name = name.name().into();
                let changed = put(&mut snapshot.namespaces, &name, new);
                dirty.namespaces.extend(changed.then_some(name));
            }
            Some(Object::Node(new)) => {
                let name = name.name().into();
                self.nodes.apply(snapshot, &name, *new, dirty);
            }
        }
    }

    fn apply_slice(
        &mut self,
        mut new: EndpointSlice,
        triggered: Option<SystemTime>,
        dirty: &mut Dirty,
    ) {
        let old = self.slices.get(&new.name);
        if old.is_some_and(|old| *old.0 == new) {
            return;
        }
        if old.is_some_and(|old| old.0.service != new.service) {
            self.delete(Kind::EndpointSlice, &new.name, dirty);
        }
        let snapshot = &mut self.snapshot;
        if let Some((name, _)) = snapshot.services.get_key_value(&new.service) {
            new.service = name.clone(); // One text for both.
        }
        let ipv6 = new.ipv6;
        let triggered = triggered.filter(|t| *t > self.started);
        let trigger = triggered.map(|at| Trigger { at, ipv6 });
        dirty.service(&new.service, Stamp::slice(trigger));
        let new = Arc::new(new);
        let siblings = snapshot.slices.entry(new.service.clone()).or_default();
        *siblings = with(siblings, &new);
        self.slices.replace(ByName(new));
    }

    fn delete(&mut self, kind: Kind, name: &ObjectName, dirty: &mut Dirty) {
        self.problems.remove(&(kind, name.clone()));
        let snapshot = &mut self.snapshot;
        match kind {
            Kind::Service => {
                if let Some(old) = snapshot.services.remove(name) {
                    snapshot.relayed -= usize::from(old.asks_for_relay());
                    dirty.service(name, Stamp::service());
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
                if snapshot.namespaces.remove(name.name()).is_some() {
                    dirty.namespaces.insert(name.name().into());
                }
            }
            Kind::Node => self.nodes.delete(name.name()),
        }
    }

    fn delete_slice(&mut self, name: &ObjectName, dirty: &mut Dirty) {
        let Some(ByName(old)) = self.slices.take(name) else {
            return;
        };
        let slices = &mut self.snapshot.slices;
        if let Some(siblings) = slices.get_mut(&old.service) {
            let rest = siblings.iter().filter(|s| s.name != *name);
            *siblings = rest.cloned().collect();
            if siblings.is_empty() {
                slices.remove(&old.service);
            }
        }
        dirty.service(&old.service, Stamp::slice(None));
    }
}

/// Slices of a Service with another one, or another version of one.
fn with(siblings: &[Arc<EndpointSlice>], new: &Arc<EndpointSlice>) -> Few<Arc<EndpointSlice>> {
    let mut all = siblings.to_vec();
    match all.binary_search_by(|s| s.name.cmp(&new.name)) {
        Ok(at) => all[at] = Arc::clone(new),
        Err(at) => all.insert(at, Arc::clone(new)),
    }
    all.into()
}

/// Puts an object under its name; true if that changed anything.
fn put<K: Ord + Clone, V: PartialEq>(
    map: &mut BTreeMap<K, Arc<V>>,
    name: &K,
    new: impl Borrow<V> + Into<Arc<V>>,
) -> bool {
    match map.get_mut(name) {
        Some(old) if **old == *new.borrow() => false,
        Some(old) => {
            *old = new.into();
            true
        }
        None => {
            map.insert(name.clone(), new.into());
            true
        }
    }
}

fn cluster_scoped(name: &Arc<str>) -> ObjectName {
    ObjectName::new("", name)
}
