//! Whose an address is: nodes, pods of the cluster, pods of this node.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use ipnetwork::IpNetwork;
use proxy_common::policy::peers::{PEER_LOCAL_NODE, PEER_NODE};

use super::{pod_claims::PodClaims, prefix_map::canonical, subject::Subject};
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
    /// In the order of their names.
    pods: Box<[Arc<Pod>]>,
    claims: PodClaims,
    nodes: HashMap<IpAddr, u32>,
    local: HashMap<IpAddr, Option<Arc<Subject>>>,
    /// `podCIDRs` of all nodes.
    pub pod_cidrs: BTreeSet<IpNetwork>,
    /// Ranges all of whose addresses are this node's.
    pub own_ranges: BTreeSet<IpNetwork>,
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
        let pods = self.claims.of(address);
        (!pods.is_empty()).then_some(Owner::Pods(pods))
    }

    /// Every known address once.
    pub fn all(&self) -> HashSet<IpAddr> {
        let addresses = self.nodes.keys().chain(self.local.keys());
        addresses.copied().chain(self.claims.addresses()).collect()
    }

    /// Takes over the pods; adds to `dirty` the addresses whose owner may be another now.
    pub fn update_pods(
        &mut self,
        now: &BTreeMap<ObjectName, Arc<Pod>>,
        dirty: &mut HashSet<IpAddr>,
    ) {
        let (gone, come) = difference(&self.pods, now);
        if gone.is_empty() && come.is_empty() {
            return;
        }
        self.claims.change(&gone, &come, dirty);
        self.pods = now.values().cloned().collect();
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

    /// Takes over the nodes, the name of this one, and what it has beside what its object says; tells whether anything differs.
    pub fn update_nodes<'a>(
        &mut self,
        nodes: impl IntoIterator<Item = &'a Arc<Node>>,
        (own, own_addresses, own_ranges): (&str, &[IpAddr], &[IpNetwork]),
    ) -> bool {
        let mut flags: HashMap<IpAddr, u32> = HashMap::new();
        let mut pod_cidrs = BTreeSet::new();
        for node in nodes {
            let local = if node.name == own { PEER_LOCAL_NODE } else { 0 };
            let all = node.addresses.iter().chain(&node.internal_ips);
            // What of another one's it names does not make that a node's.
            for address in all.filter(|ip| local != 0 || node.holds(**ip)) {
                *flags.entry(*address).or_default() |= PEER_NODE | local;
            }
            pod_cidrs.extend(node.pod_cidrs.iter().copied().map(canonical));
        }
        for address in own_addresses {
            *flags.entry(*address).or_default() |= PEER_NODE | PEER_LOCAL_NODE;
        }
        let ranges: BTreeSet<_> = own_ranges.iter().copied().map(canonical).collect();
        let changed =
            flags != self.nodes || pod_cidrs != self.pod_cidrs || ranges != self.own_ranges;
        self.nodes = flags;
        self.own_ranges = ranges;
        self.pod_cidrs = pod_cidrs;
        changed
    }
}

/// The pods that are gone and those that have come; one that has changed is both. Walks both at once: most pods are the same
/// object in both.
fn difference(
    before: &[Arc<Pod>],
    after: &BTreeMap<ObjectName, Arc<Pod>>,
) -> (Vec<Arc<Pod>>, Vec<Arc<Pod>>) {
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (before.iter().peekable(), after.values().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return (gone, come),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => Ordering::Equal,
            (Some(a), Some(b)) => a.name.cmp(&b.name),
        };
        let left = if order.is_le() { old.next() } else { None };
        let right = if order.is_ge() { new.next() } else { None };
        let same = matches!((left, right), (Some(a), Some(b)) if Arc::ptr_eq(a, b));
        if !same {
            gone.extend(left.cloned());
            come.extend(right.cloned());
        }
    }
}
