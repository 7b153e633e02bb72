//! What is known of Nodes stays known while the API says less: an object that is gone or has lost its addresses
//! or ranges is more often a hiccup (a cloud provider's, somebody's hand) than a machine that is gone.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ipnetwork::IpNetwork;

use crate::model::{Dirty, Node, Snapshot};

/// How long a Node whose object is gone is kept, unless another one takes its addresses or ranges.
pub(super) const GRACE: Duration = Duration::from_mins(5);

/// Nodes whose object is gone, and since when.
#[derive(Debug, Default)]
pub(super) struct Gone(BTreeMap<Arc<str>, Instant>);

impl Gone {
    /// Puts a Node as the API has it, with what it said before where it is silent now.
    pub(super) fn apply(
        &mut self,
        snapshot: &mut Snapshot,
        name: &Arc<str>,
        mut new: Node,
        dirty: &mut Dirty,
    ) {
        self.0.remove(name);
        self.yield_to(snapshot, name, &new, dirty);
        let nodes = &mut snapshot.nodes;
        if let Some(old) = nodes.get(name) {
            remember(&mut new, old);
        }
        yield_ranges(nodes, name, &mut new, dirty);
        if nodes.get(name).is_none_or(|old| **old != new) {
            nodes.insert(Arc::clone(name), Arc::new(new));
            dirty.nodes.insert(Arc::clone(name));
        }
    }

    /// Keeps a Node whose object is gone. It is neither leaving nor to be told anything.
    pub(super) fn delete(&mut self, snapshot: &mut Snapshot, name: &str, dirty: &mut Dirty) {
        let Some((name, node)) = snapshot.nodes.get_key_value(name) else {
            return;
        };
        if self.0.contains_key(name) {
            return;
        }
        let name = Arc::clone(name);
        let kept = Node {
            leaving: false,
            gone: true,
            ..Node::clone(node)
        };
        tracing::warn!(
            node = &*name,
            "Node is gone from the API; what is known of it stays for a while"
        );
        snapshot.nodes.insert(Arc::clone(&name), Arc::new(kept));
        dirty.nodes.insert(Arc::clone(&name));
        self.0.insert(name, Instant::now());
    }

    /// Whether a Node is kept though its object is gone.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether one has been gone for long enough.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.0
            .values()
            .any(|since| now.duration_since(*since) >= GRACE)
    }

    /// Forgets those that have been gone for long enough.
    pub(super) fn expire(&mut self, snapshot: &mut Snapshot, now: Instant, dirty: &mut Dirty) {
        self.0.retain(|name, since| {
            let stays = now.duration_since(*since) < GRACE;
            if !stays {
                tracing::info!(node = &**name, "Node has not come back: forgotten");
                snapshot.nodes.remove(name);
                dirty.nodes.insert(Arc::clone(name));
            }
            stays
        });
    }

    /// What a Node has now is no longer that of one whose object is gone.
    fn yield_to(
        &mut self,
        snapshot: &mut Snapshot,
        name: &Arc<str>,
        new: &Node,
        dirty: &mut Dirty,
    ) {
        let others = snapshot.nodes.iter();
        let taken: Vec<Arc<str>> = others
            .filter(|(other, node)| {
                *other != name && self.0.contains_key(*other) && overlap(node, new)
            })
            .map(|(other, _)| Arc::clone(other))
            .collect();
        for other in taken {
            self.0.remove(&other);
            snapshot.nodes.remove(&other);
            dirty.nodes.insert(other);
        }
    }
}

/// Fills in what a Node is silent about, by family: a Node that says another address has moved.
fn remember(new: &mut Node, old: &Node) {
    for ipv4 in [true, false] {
        let is_ours = |ip: &&IpAddr| ip.is_ipv4() == ipv4;
        if !new.internal_ips.iter().any(|ip| ip.is_ipv4() == ipv4) {
            let lost: Vec<IpAddr> = old.internal_ips.iter().filter(is_ours).copied().collect();
            let unknown = lost.iter().filter(|ip| !new.addresses.contains(ip));
            let unknown: Vec<IpAddr> = unknown.copied().collect();
            new.addresses.extend(unknown);
            new.internal_ips.extend(lost);
        }
        remember_ranges(&mut new.pod_cidrs, &old.pod_cidrs, ipv4);
        remember_ranges(&mut new.spec_pod_cidrs, &old.spec_pod_cidrs, ipv4);
    }
}

fn remember_ranges(new: &mut Vec<IpNetwork>, old: &[IpNetwork], ipv4: bool) {
    if !new.iter().any(|range| range.is_ipv4() == ipv4) {
        new.extend(old.iter().filter(|range| range.is_ipv4() == ipv4));
    }
}

/// A range that one Node's agent has claimed is no other's, though its `spec.podCIDRs` say so: whoever fills those in knows
/// nothing of claims.
fn yield_ranges(
    nodes: &mut BTreeMap<Arc<str>, Arc<Node>>,
    name: &Arc<str>,
    new: &mut Node,
    dirty: &mut Dirty,
) {
    for (other, node) in nodes.iter_mut().filter(|(other, _)| *other != name) {
        let clash = |ours: &[IpNetwork], theirs: &IpNetwork| ours.iter().any(|r| within(r, theirs));
        if node.claimed && !new.claimed {
            new.pod_cidrs.retain(|range| !clash(&node.pod_cidrs, range));
        }
        let loses = new.claimed && !node.claimed;
        if loses
            && node
                .pod_cidrs
                .iter()
                .any(|range| clash(&new.pod_cidrs, range))
        {
            let kept = Arc::make_mut(node);
            kept.pod_cidrs.retain(|range| !clash(&new.pod_cidrs, range));
            dirty.nodes.insert(Arc::clone(other));
        }
    }
}

/// Whether one of two ranges is a part of the other.
fn within(x: &IpNetwork, y: &IpNetwork) -> bool {
    x.contains(y.ip()) || y.contains(x.ip())
}

/// Whether two Nodes have an address or a part of a range in common.
fn overlap(a: &Node, b: &Node) -> bool {
    let addresses = a.internal_ips.iter().any(|ip| b.internal_ips.contains(ip));
    addresses
        || a.pod_cidrs
            .iter()
            .any(|x| b.pod_cidrs.iter().any(|y| within(x, y)))
}

#[cfg(test)]
mod tests;
