//! What is known of Nodes, and who of them has which range and address.
//!
//! What is known stays known while the API says less: an object that is gone or has lost its addresses
//! or ranges is more often a hiccup (a cloud provider's, somebody's hand) than a machine that is gone.

pub mod kept;
mod settle;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ipnetwork::IpNetwork;

use self::kept::Kept;
use crate::model::{Dirty, Node, Snapshot};

/// How long a Node whose object is gone is kept, unless another one takes its addresses or ranges.
pub(super) const GRACE: Duration = Duration::from_mins(5);

/// Nodes as they say of themselves, and since when the object of some is gone. What of it is in force is in the snapshot.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    said: BTreeMap<Arc<str>, Arc<Node>>,
    gone: BTreeMap<Arc<str>, Instant>,
    /// What a former agent knew, until Nodes are listed, and for how long the object of some was gone then.
    recalled: BTreeMap<Arc<str>, (Node, Duration)>,
    /// Counts changes of the above.
    version: u64,
    /// Who claims what has changed since it was settled.
    unsettled: bool,
    /// Ranges that agents have claimed go before those that anybody else gave (`ipam: cluster`).
    pub(super) claimed_first: bool,
}

impl Nodes {
    /// Takes over what a former agent knew.
    pub(super) fn recall(&mut self, kept: Vec<Kept>) {
        let known = kept.into_iter().map(|kept| {
            let (name, gone_for) = (kept.name.as_str().into(), kept.gone_for());
            (name, (kept.node(), gone_for))
        });
        self.recalled = known.collect();
    }

    /// All Nodes are listed. Those that a former agent knew and that are not among them are gone: since that one noted it, or
    /// else since now.
    pub(super) fn listed(&mut self, now: Instant) {
        for (name, (node, gone_for)) in std::mem::take(&mut self.recalled) {
            let since = now.checked_sub(gone_for);
            let Some(since) = since.filter(|_| gone_for < GRACE) else {
                continue;
            };
            if self.said.contains_key(&name) {
                continue;
            }
            tracing::warn!(
                node = &*name,
                "Node is gone from the API since the agent ended; what is known of it stays for a while"
            );
            self.said.insert(Arc::clone(&name), Arc::new(node));
            self.gone.insert(name, since);
            self.unsettled = true;
            self.version += 1;
        }
    }

    /// Counts changes of what the next agent is to know.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// What the next agent is to know.
    pub(super) fn kept(&self, now: Instant) -> Vec<Kept> {
        let all = self.said.iter();
        let all = all.map(|(name, node)| {
            let since = self.gone.get(name);
            Kept::of(node, since.map(|since| now.duration_since(*since)))
        });
        all.collect()
    }

    /// Puts a Node as the API has it, with what it said before where it is silent now.
    pub(super) fn apply(
        &mut self,
        snapshot: &mut Snapshot,
        name: &Arc<str>,
        mut new: Node,
        dirty: &mut Dirty,
    ) {
        self.version += u64::from(self.gone.remove(name).is_some());
        let old = self.said.get(name);
        if let Some(old) = old {
            remember(&mut new, old);
            if **old == new {
                return;
            }
        } else if let Some((old, _)) = self.recalled.get(name) {
            remember(&mut new, old);
        }
        let new = Arc::new(new);
        let in_force = snapshot.nodes.get_mut(name);
        match in_force.filter(|_| old.is_some_and(|old| settle::claim_alike(old, &new))) {
            Some(known) => {
                *known = settle::in_force_as(&new, known);
                dirty.nodes.insert(Arc::clone(name));
            }
            None => self.unsettled = true,
        }
        self.said.insert(Arc::clone(name), new);
        self.version += 1;
    }

    /// Keeps a Node whose object is gone. It is neither leaving nor to be told anything.
    pub(super) fn delete(&mut self, name: &str) {
        let Some((name, node)) = self.said.get_key_value(name) else {
            return;
        };
        if self.gone.contains_key(name) {
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
        self.said.insert(Arc::clone(&name), Arc::new(kept));
        self.gone.insert(name, Instant::now());
        self.unsettled = true;
        self.version += 1;
    }

    /// The names of all that are known.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.said.keys()
    }

    /// Whether a Node is kept though its object is gone.
    pub(super) fn is_gone(&self, name: &str) -> bool {
        self.gone.contains_key(name)
    }

    /// Whether one has been gone for long enough.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.gone
            .values()
            .any(|since| now.duration_since(*since) >= GRACE)
    }

    /// Forgets those that have been gone for long enough.
    pub(super) fn expire(&mut self, now: Instant) {
        let Self { said, gone, .. } = self;
        let known = gone.len();
        gone.retain(|name, since| {
            let stays = now.duration_since(*since) < GRACE;
            if !stays {
                tracing::info!(node = &**name, "Node has not come back: forgotten");
                said.remove(name);
            }
            stays
        });
        let is_less = gone.len() != known;
        self.unsettled |= is_less;
        self.version += u64::from(is_less);
    }

    /// Gives each range and address to one Node, once all that is new has been put. One that is gone is forgotten when another
    /// names what it had.
    pub(super) fn settle(&mut self, snapshot: &mut Snapshot, dirty: &mut Dirty) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        let before = &snapshot.nodes;
        let mut after = settle::settle(&self.said, before, self.claimed_first);
        while self.forget_taken(&after) {
            after = settle::settle(&self.said, before, self.claimed_first);
        }
        for (name, node) in &after {
            let known = before.get(name);
            if known != Some(node) {
                tell(known.map(AsRef::as_ref), node);
                dirty.nodes.insert(Arc::clone(name));
            }
        }
        let forgotten = before.keys().filter(|name| !after.contains_key(*name));
        dirty.nodes.extend(forgotten.cloned());
        snapshot.nodes = after;
    }

    /// Forgets those that are gone and whose ranges or addresses another Node has. Says whether there were any.
    fn forget_taken(&mut self, settled: &BTreeMap<Arc<str>, Arc<Node>>) -> bool {
        let Self { said, gone, .. } = self;
        let has_taken =
            |name: &Arc<str>| settled[name].refused.iter().any(|r| !settled[&r.by].gone);
        let taken: Vec<Arc<str>> = gone
            .keys()
            .filter(|name| has_taken(name))
            .cloned()
            .collect();
        for name in &taken {
            gone.remove(name);
            said.remove(name);
        }
        self.version += u64::from(!taken.is_empty());
        !taken.is_empty()
    }
}

/// Logs what a Node names and others have, when that is new.
fn tell(known: Option<&Node>, node: &Node) {
    let conflict = node.conflict().filter(|_| !node.gone);
    if let Some(conflict) = conflict
        && known.is_none_or(|known| known.refused != node.refused)
    {
        tracing::warn!("{conflict}");
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

#[cfg(test)]
mod tests;
