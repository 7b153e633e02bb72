//! Whose an address is: nodes, pods of the cluster, pods of this node.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use ipnetwork::IpNetwork;
use proxy_common::policy::peers::{PEER_LOCAL_NODE, PEER_NODE};

use super::{prefix_map::canonical, subject::Subject};
use crate::model::{Node, ObjectName, Pod};

/// Who an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A node; `PEER_*` bits.
    Node(u32),
    /// Pods: one, or more while an address moves from one to the next.
    Pods(Vec<Arc<Pod>>),
    /// A pod of this node; none if it is not known yet.
    Local(Option<Arc<Subject>>),
}

/// All addresses that are known one by one, and the ranges of pods.
#[derive(Debug, Default)]
pub struct Addresses {
    pods: BTreeMap<ObjectName, Arc<Pod>>,
    claims: HashMap<IpAddr, Vec<Arc<Pod>>>,
    nodes: HashMap<IpAddr, u32>,
    local: HashMap<IpAddr, Option<Arc<Subject>>>,
    /// `podCIDRs` of all nodes.
    pub pod_cidrs: BTreeSet<IpNetwork>,
}

impl Addresses {
    /// Who owns an address.
    pub fn owner(&self, address: IpAddr) -> Option<Owner> {
        if let Some(flags) = self.nodes.get(&address) {
            return Some(Owner::Node(*flags));
        }
        if let Some(subject) = self.local.get(&address) {
            return Some(Owner::Local(subject.clone()));
        }
        self.claims.get(&address).cloned().map(Owner::Pods)
    }

    /// Every known address once.
    pub fn all(&self) -> HashSet<IpAddr> {
        let addresses = self.nodes.keys().chain(self.local.keys());
        addresses.chain(self.claims.keys()).copied().collect()
    }

    /// Takes over the pods; adds to `dirty` the addresses whose owner may be another now.
    pub fn update_pods(
        &mut self,
        now: &BTreeMap<ObjectName, Arc<Pod>>,
        dirty: &mut HashSet<IpAddr>,
    ) {
        for (before, after) in difference(&self.pods, now) {
            if let Some(pod) = before {
                self.pods.remove(&pod.name);
                self.unclaim(&pod, dirty);
            }
            if let Some(pod) = after {
                self.pods.insert(pod.name.clone(), Arc::clone(&pod));
                self.claim(&pod, dirty);
            }
        }
    }

    fn unclaim(&mut self, pod: &Arc<Pod>, dirty: &mut HashSet<IpAddr>) {
        for address in &pod.ips {
            if let Some(claims) = self.claims.get_mut(address) {
                claims.retain(|other| !Arc::ptr_eq(other, pod));
                if claims.is_empty() {
                    self.claims.remove(address);
                }
                dirty.insert(*address);
            }
        }
    }

    fn claim(&mut self, pod: &Arc<Pod>, dirty: &mut HashSet<IpAddr>) {
        if pod.host_network || pod.terminated {
            return;
        }
        for address in &pod.ips {
            self.claims
                .entry(*address)
                .or_default()
                .push(Arc::clone(pod));
            dirty.insert(*address);
        }
    }

    /// Takes over the pods of this node.
    pub fn update_local(
        &mut self,
        now: HashMap<IpAddr, Option<Arc<Subject>>>,
        dirty: &mut HashSet<IpAddr>,
    ) {
        let gone = self.local.keys().filter(|a| !now.contains_key(a));
        let other = now.iter().filter(|(a, s)| self.local.get(a) != Some(*s));
        dirty.extend(gone.chain(other.map(|(a, _)| a)));
        self.local = now;
    }

    /// Takes over the nodes; tells whether anything differs.
    pub fn update_nodes<'a>(
        &mut self,
        nodes: impl IntoIterator<Item = &'a Arc<Node>>,
        own: &str,
        own_addresses: &[IpAddr],
    ) -> bool {
        let mut flags: HashMap<IpAddr, u32> = HashMap::new();
        let mut pod_cidrs = BTreeSet::new();
        for node in nodes {
            let local = if node.name == own { PEER_LOCAL_NODE } else { 0 };
            for address in node.addresses.iter().chain(&node.internal_ips) {
                *flags.entry(*address).or_default() |= PEER_NODE | local;
            }
            pod_cidrs.extend(node.pod_cidrs.iter().copied().map(canonical));
        }
        for address in own_addresses {
            *flags.entry(*address).or_default() |= PEER_NODE | PEER_LOCAL_NODE;
        }
        let changed = flags != self.nodes || pod_cidrs != self.pod_cidrs;
        self.nodes = flags;
        self.pod_cidrs = pod_cidrs;
        changed
    }
}

type Changed = (Option<Arc<Pod>>, Option<Arc<Pod>>);

/// Walks both trees at once: most pods are the same object in both.
fn difference(
    before: &BTreeMap<ObjectName, Arc<Pod>>,
    after: &BTreeMap<ObjectName, Arc<Pod>>,
) -> Vec<Changed> {
    let mut changes = Vec::new();
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return changes,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let gone = if order.is_le() { old.next() } else { None };
        let come = if order.is_ge() { new.next() } else { None };
        let change = (gone.map(|(_, p)| p), come.map(|(_, p)| p));
        let same = matches!(change, (Some(a), Some(b)) if Arc::ptr_eq(a, b) || a == b);
        if !same {
            changes.push((change.0.cloned(), change.1.cloned()));
        }
    }
}
