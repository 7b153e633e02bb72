//! Conflict resolution: which Node has a range of pods or an address that more than one names.
//!
//! Nothing stops two Node objects from naming the same, and all that leads to nodes (routes, the tunnel, peers of encryption)
//! can lead to one only. The first has it, and what it has is not taken from it. Whoever comes later has nothing of what
//! overlaps; its other ranges and addresses are in force. What of a Node leads to itself is not touched: it is reached at an
//! address that it shares, by its own ranges.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnetwork::IpNetwork;

use crate::model::{Node, Refused};

/// Nodes by name.
type ByName = BTreeMap<Arc<str>, Arc<Node>>;

/// Something that a Node names.
struct Claim<'a> {
    rank: Rank<'a>,
    node: &'a Arc<str>,
    what: IpNetwork,
    pods: bool,
}

/// The least goes first.
type Rank<'a> = (Gone, Unclaimed, New, i64, &'a str);
type Gone = bool;
type Unclaimed = bool;
type New = bool;

/// Nodes as they say of themselves, with what of it is in force, given what was in force before. One whose object is gone goes
/// after all others, and then, if `claimed_first`, what no agent has claimed after what one has; what was in force goes before
/// what is new, and older Nodes before younger.
pub(super) fn settle(said: &ByName, before: &ByName, claimed_first: bool) -> ByName {
    let mut claims: Vec<Claim<'_>> = said
        .iter()
        .flat_map(|(name, node)| claims(name, node, before.get(name), claimed_first))
        .collect();
    claims.sort_by_key(|claim| (claim.rank, claim.what));
    let mut held = Held::default();
    claims.retain(|claim| !held.take(claim.what, claim.node));
    let mut refused: BTreeMap<&Arc<str>, Vec<Refused>> = BTreeMap::new();
    for Claim {
        node, what, pods, ..
    } in claims
    {
        // Who has it in the end: of several always the same one.
        if let Some(by) = held.other(what, node).cloned() {
            let refused = refused.entry(node).or_default();
            refused.push(Refused { what, pods, by });
        }
    }
    for refused in refused.values_mut() {
        refused.sort_by_key(|refused| refused.what);
    }
    let in_force = |(name, node): (&Arc<str>, &Arc<Node>)| {
        let node = match refused.remove(name) {
            Some(refused) => Arc::new(without(node, refused)),
            None => Arc::clone(node),
        };
        (Arc::clone(name), node)
    };
    said.iter().map(in_force).collect()
}

/// Whether two versions of a Node name the same with the same right.
pub(super) fn claim_alike(a: &Node, b: &Node) -> bool {
    let key = |node: &Node| (node.claimed, node.gone, node.created);
    key(a) == key(b) && a.pod_cidrs == b.pod_cidrs && a.internal_ips == b.internal_ips
}

/// A new version of a Node that names the same as the known one, of which as much is in force.
pub(super) fn in_force_as(new: &Arc<Node>, known: &Node) -> Arc<Node> {
    if known.refused.is_empty() {
        return Arc::clone(new);
    }
    Arc::new(Node {
        pod_cidrs: known.pod_cidrs.clone(),
        refused: known.refused.clone(),
        ..Node::clone(new)
    })
}

fn claims<'a>(
    name: &'a Arc<str>,
    node: &'a Node,
    before: Option<&Arc<Node>>,
    claimed_first: bool,
) -> impl Iterator<Item = Claim<'a>> {
    let had = move |what: IpNetwork, pods: bool| {
        before.is_some_and(|before| {
            if pods {
                before.pod_cidrs.iter().any(|range| whole(*range) == what)
            } else {
                before.internal_ips.contains(&what.ip()) && before.holds(what.ip())
            }
        })
    };
    let ranges = node.pod_cidrs.iter().map(|range| (whole(*range), true));
    let addresses = node.internal_ips.iter();
    let addresses = addresses.map(|ip| (IpNetwork::from(*ip), false));
    let claims: Vec<_> = ranges.chain(addresses).collect();
    claims.into_iter().map(move |(what, pods)| Claim {
        rank: (
            node.gone,
            claimed_first && pods && !node.claimed,
            !had(what, pods),
            node.created,
            &**name,
        ),
        node: name,
        what,
        pods,
    })
}

fn without(node: &Node, refused: Vec<Refused>) -> Node {
    let is_refused = |range: &IpNetwork| {
        let mut refused = refused.iter().filter(|refused| refused.pods);
        refused.any(|refused| refused.what == whole(*range))
    };
    let mut node = Node::clone(node);
    node.pod_cidrs.retain(|range| !is_refused(range));
    node.refused = refused;
    node
}

/// Without bits behind the prefix.
fn whole(range: IpNetwork) -> IpNetwork {
    IpNetwork::new(range.network(), range.prefix()).unwrap_or(range)
}

/// What is given away: by family and first address, the last one and to whom. No two overlap.
#[derive(Default)]
struct Held<'a>(BTreeMap<(bool, u128), (u128, &'a Arc<str>)>);

impl<'a> Held<'a> {
    /// What overlaps a range, from its end: first address, last one and whose.
    fn overlapping(&self, what: IpNetwork) -> impl Iterator<Item = (u128, u128, &'a Arc<str>)> {
        let (ipv4, [first, last]) = edges(what);
        let up_to_last = self.0.range(..=(ipv4, last)).rev();
        up_to_last
            .take_while(move |((family, _), (end, _))| *family == ipv4 && *end >= first)
            .map(|((_, start), (end, by))| (*start, *end, *by))
    }

    /// Another Node that has something of a range.
    fn other(&self, what: IpNetwork, node: &Arc<str>) -> Option<&'a Arc<str>> {
        let others = self.overlapping(what).map(|(_, _, by)| by);
        others.filter(|by| *by != node).last()
    }

    /// Gives a range to a Node, unless another one has something of it.
    fn take(&mut self, what: IpNetwork, node: &'a Arc<str>) -> bool {
        let overlapping: Vec<_> = self.overlapping(what).collect();
        if overlapping.iter().any(|(_, _, by)| *by != node) {
            return false;
        }
        let (ipv4, [first, last]) = edges(what);
        // Ranges lie within each other or apart.
        let is_within = |(start, end, _): &(u128, u128, _)| *start <= first && last <= *end;
        if !overlapping.iter().any(is_within) {
            for (start, _, _) in overlapping {
                self.0.remove(&(ipv4, start));
            }
            self.0.insert((ipv4, first), (last, node));
        }
        true
    }
}

/// Family, first address and last one.
fn edges(what: IpNetwork) -> (bool, [u128; 2]) {
    (what.is_ipv4(), [what.network(), what.broadcast()].map(bits))
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[cfg(test)]
mod tests;
