use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{GRACE, Nodes};
use crate::model::{Dirty, Node, Snapshot};

fn node(name: &str, addresses: &[&str], ranges: &[&str]) -> Node {
    let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    Node {
        name: name.to_owned(),
        internal_ips: addresses.clone(),
        addresses,
        pod_cidrs: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        ..Node::default()
    }
}

/// Nodes as the API tells of them, and as they are known.
#[derive(Default)]
struct World {
    nodes: Nodes,
    snapshot: Snapshot,
}

impl World {
    fn apply(&mut self, node: Node) -> bool {
        let mut dirty = Dirty::default();
        let name: Arc<str> = node.name.as_str().into();
        self.nodes
            .apply(&mut self.snapshot, &name, node, &mut dirty);
        self.nodes.settle(&mut self.snapshot, &mut dirty);
        dirty.nodes.contains(&name)
    }

    fn delete(&mut self, name: &str) -> Vec<Arc<str>> {
        let mut dirty = Dirty::default();
        self.nodes.delete(name);
        self.nodes.settle(&mut self.snapshot, &mut dirty);
        dirty.nodes.into_iter().collect()
    }

    fn expire(&mut self, after: Duration) -> Vec<Arc<str>> {
        let now = Instant::now() + after;
        let mut dirty = Dirty::default();
        assert_eq!(self.nodes.is_due(now), after >= GRACE);
        self.nodes.expire(now);
        self.nodes.settle(&mut self.snapshot, &mut dirty);
        dirty.nodes.into_iter().collect()
    }

    fn ranges(&self, name: &str) -> Vec<String> {
        let node = self.snapshot.nodes.get(name);
        node.map_or_else(Vec::new, |node| {
            node.pod_cidrs.iter().map(ToString::to_string).collect()
        })
    }

    fn addresses(&self, name: &str) -> Vec<String> {
        let node = self.snapshot.nodes.get(name);
        node.map_or_else(Vec::new, |node| {
            node.internal_ips.iter().map(ToString::to_string).collect()
        })
    }
}

const BOTH: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
const RANGES: [&str; 2] = ["10.1.1.0/24", "fd00:1::/64"];

#[test]
fn what_a_node_is_silent_about_stays_by_family() {
    let mut world = World::default();
    assert!(world.apply(node("a", &BOTH, &RANGES)));
    assert!(!world.apply(node("a", &[], &[])), "nothing has changed");
    assert_eq!(world.addresses("a"), BOTH);
    assert_eq!(world.snapshot.nodes["a"].addresses.len(), 2);
    assert_eq!(world.snapshot.nodes["a"].pod_cidrs.len(), 2);
    world.apply(node("a", &["2001:db8::1"], &RANGES[1..]));
    assert_eq!(world.addresses("a").len(), 2);
    assert_eq!(world.snapshot.nodes["a"].pod_cidrs.len(), 2);
    // Another address is news.
    assert!(world.apply(node("a", &["192.0.2.7"], &[])));
    assert_eq!(world.addresses("a"), ["192.0.2.7", "2001:db8::1"]);
}

#[test]
fn a_node_whose_object_is_gone_stays_for_a_while() {
    let mut world = World::default();
    let mut leaving = node("a", &BOTH, &RANGES);
    leaving.leaving = true;
    world.apply(leaving);
    world.delete("a");
    world.delete("unknown");
    assert_eq!(world.addresses("a"), BOTH);
    assert!(!world.snapshot.nodes["a"].leaving);
    assert!(world.expire(GRACE / 2).is_empty());
    assert_eq!(&*world.expire(GRACE)[0], "a");
    assert!(world.snapshot.nodes.is_empty());

    // It comes back in time, without addresses at first.
    world.apply(node("a", &BOTH, &RANGES));
    world.delete("a");
    world.apply(node("a", &[], &[]));
    assert_eq!(world.addresses("a"), BOTH);
    let due = world.nodes.is_due(Instant::now() + GRACE * 2);
    assert!(!due, "it is there");
}

/// A world as the next agent finds it, which lists these Nodes.
fn restart(world: &World, listed: Vec<Node>, after: Duration) -> World {
    let now = Instant::now();
    let mut next = World::default();
    next.nodes.recall(world.nodes.kept(now + after));
    for node in listed {
        next.apply(node);
    }
    let mut dirty = Dirty::default();
    next.nodes.listed(now);
    next.nodes.settle(&mut next.snapshot, &mut dirty);
    next
}

#[test]
fn what_a_former_agent_knew_stays_for_as_long_as_it_would_have() {
    let mut world = World::default();
    world.apply(node("a", &BOTH, &RANGES));
    world.apply(node("b", &["192.0.2.2"], &["10.1.2.0/24"]));

    // One went while no agent was there, the other is silent.
    let mut next = restart(&world, vec![node("b", &[], &[])], Duration::ZERO);
    assert_eq!(next.addresses("a"), BOTH);
    assert_eq!(next.ranges("a"), RANGES);
    assert_eq!(next.addresses("b"), ["192.0.2.2"]);
    assert!(next.expire(GRACE / 2).is_empty());
    assert_eq!(&*next.expire(GRACE)[0], "a");
    assert_eq!(next.ranges("b"), ["10.1.2.0/24"]);

    // How long it had been gone before counts, however often agents start.
    world.delete("a");
    let other = || vec![node("b", &[], &[])];
    let mut next = restart(&world, other(), GRACE / 2);
    assert_eq!(next.addresses("a"), BOTH);
    let due = Instant::now() + GRACE / 2 + Duration::from_secs(2);
    assert!(next.nodes.is_due(due));
    next = restart(&world, other(), GRACE + Duration::from_secs(2));
    assert!(next.addresses("a").is_empty());

    // What another Node has by now is not kept.
    let taken = vec![node("c", &["192.0.2.9"], &RANGES)];
    let next = restart(&world, taken, Duration::ZERO);
    assert!(next.addresses("a").is_empty());
    assert_eq!(next.ranges("c"), RANGES);
}

#[test]
fn what_another_node_has_now_is_not_kept_of_one_that_is_gone() {
    for (addresses, ranges) in [
        (&["192.0.2.1"][..], &[][..]),
        (&["192.0.2.9"], &["10.1.0.0/16"]),
        (&[], &["10.1.1.128/25"]),
    ] {
        let mut world = World::default();
        world.apply(node("a", &BOTH, &RANGES));
        world.apply(node("b", &["192.0.2.2"], &["10.1.2.0/24"]));
        world.delete("a");
        world.delete("b");
        world.apply(node("c", addresses, ranges));
        assert!(world.addresses("a").is_empty(), "{addresses:?} {ranges:?}");
    }
}

#[test]
fn what_a_node_has_is_no_other_nodes_until_it_goes() {
    let mut world = World::default();
    world.apply(node("a", &BOTH, &RANGES));
    let mut other = node("0", &["192.0.2.9", "192.0.2.1"], &RANGES);
    other.pod_cidrs.push("10.1.9.0/24".parse().unwrap());
    world.apply(other.clone());
    assert_eq!(world.ranges("a"), RANGES);
    assert_eq!(world.ranges("0"), ["10.1.9.0/24"]);
    let refused = &world.snapshot.nodes["0"];
    assert!(refused.holds("192.0.2.9".parse().unwrap()));
    assert!(!refused.holds("192.0.2.1".parse().unwrap()));
    assert_eq!(
        refused.conflict().unwrap(),
        "node 0 names 10.1.1.0/24, 192.0.2.1, fd00:1::/64, which node a has: that is not in force"
    );

    // What it says else is news, and leaves it as it is.
    other.ready = true;
    assert!(world.apply(other.clone()));
    assert_eq!(world.ranges("0"), ["10.1.9.0/24"]);
    // One that is gone and has nothing is not kept.
    world.delete("0");
    assert!(!world.snapshot.nodes.contains_key("0"));
    assert_eq!(world.ranges("a"), RANGES);

    // It has it at once when the other one goes, and keeps it.
    world.apply(other);
    let changed = world.delete("a");
    assert_eq!(changed.iter().map(|n| &**n).collect::<Vec<_>>(), ["0", "a"]);
    assert_eq!(world.ranges("0").len(), 3);
    assert!(!world.snapshot.nodes.contains_key("a"));
    let mut back = node("a", &BOTH, &RANGES);
    back.created = -1;
    world.apply(back);
    assert_eq!(world.ranges("0").len(), 3);
    assert_eq!(world.ranges("a").len(), 0);
}

#[test]
fn what_an_agent_has_claimed_goes_first_where_agents_claim() {
    for claimed_first in [true, false] {
        let mut world = World::default();
        world.nodes.claimed_first = claimed_first;
        world.apply(node("a", &BOTH, &RANGES));
        let mut claimed = node("b", &["192.0.2.2"], &RANGES);
        claimed.claimed = true;
        world.apply(claimed);
        assert_eq!(world.ranges("b").is_empty(), !claimed_first);
        assert_eq!(world.ranges("a").is_empty(), claimed_first);
    }
}
