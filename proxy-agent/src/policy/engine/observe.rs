//! What the engine takes over from the cluster before it compiles.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use super::{NEEDED, PolicyEngine};
use crate::{
    model::{Kind, Snapshot},
    policy::{LocalEndpoint, effective::Effective, subjects},
};

impl PolicyEngine {
    /// Takes over what is observed: whether peers must be compiled anew, and the addresses that changed.
    pub(super) fn observe(
        &mut self,
        snapshot: &Snapshot,
        endpoints: &[LocalEndpoint],
    ) -> (bool, HashSet<IpAddr>) {
        let mut dirty = HashSet::new();
        let policies = self.observed.update(&snapshot.policies);
        if policies || self.revalidate {
            self.effective = Effective::new(&self.observed.versions, &self.effective);
            self.wanted = None;
        }
        let locals = subjects::find(endpoints, snapshot, &self.locals);
        if !subjects::same(&self.locals, &locals) {
            self.wanted = None;
        }
        self.locals = locals;
        let namespaces = take_over(&mut self.namespaces, &snapshot.namespaces);
        let nodes = self.observe_nodes(snapshot);
        self.addresses.update_pods(&snapshot.pods, &mut dirty);
        let owners = subjects::owners(&self.locals);
        self.addresses.update_local(owners, &mut dirty);
        (namespaces || nodes, dirty)
    }

    fn observe_nodes(&mut self, snapshot: &Snapshot) -> bool {
        let nodes = take_over(&mut self.nodes, &snapshot.nodes);
        let own = std::mem::take(&mut self.own_addresses_changed);
        let here = (&*self.node, &*self.own_addresses, &*self.own_ranges);
        (nodes || own) && self.addresses.update_nodes(self.nodes.values(), here)
    }
}

/// The kinds that are not listed yet.
pub(super) fn missing(snapshot: &Snapshot) -> Vec<Kind> {
    let is_missing = |kind: &Kind| !snapshot.complete.has(&[*kind]);
    NEEDED.into_iter().filter(is_missing).collect()
}

/// Takes over a store; tells whether any object differs.
fn take_over<T: PartialEq>(
    known: &mut BTreeMap<Arc<str>, Arc<T>>,
    now: &BTreeMap<Arc<str>, Arc<T>>,
) -> bool {
    let is_same = known.len() == now.len()
        && known
            .iter()
            .zip(now)
            .all(|((k, a), (l, b))| k == l && (Arc::ptr_eq(a, b) || a == b));
    if !is_same {
        known.clone_from(now);
    }
    !is_same
}
