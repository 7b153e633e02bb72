use std::collections::BTreeSet;

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::{
    model::{Dirty, Snapshot},
    observe::nodes::Nodes,
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A range of sixteen addresses, each of which is thus named by several.
fn range() -> impl Strategy<Value = IpNetwork> {
    (0_u8..16, 28_u8..=32).prop_map(|(last, prefix)| {
        let address = IpAddr::from([10, 0, 0, last]);
        whole(IpNetwork::new(address, prefix).unwrap())
    })
}

fn node() -> impl Strategy<Value = Node> {
    let ranges = prop::collection::vec(range(), 0..3);
    let addresses = prop::collection::vec(0_u8..16, 0..2);
    (0..NAMES.len(), ranges, addresses, 0_i64..3, any::<bool>()).prop_map(
        |(name, pod_cidrs, addresses, created, claimed)| Node {
            name: NAMES[name].to_owned(),
            pod_cidrs,
            internal_ips: addresses.iter().map(|n| [10, 0, 0, *n].into()).collect(),
            created,
            claimed,
            ..Node::default()
        },
    )
}

/// What a Node names, address by address.
type Named = (IpNetwork, bool);

fn named(node: &Node) -> BTreeSet<Named> {
    let addresses = node.internal_ips.iter().map(|ip| ((*ip).into(), false));
    let ranges = node.pod_cidrs.iter().map(|range| (*range, true));
    ranges.chain(addresses).collect()
}

fn in_force(node: &Node) -> BTreeSet<Named> {
    let holds = |(what, pods): &Named| *pods || node.holds(what.ip());
    named(node).into_iter().filter(holds).collect()
}

/// The same, one address at a time: whoever comes first in these words has all that nobody has yet.
fn oracle(
    said: &ByName,
    before: &ByName,
    claimed_first: bool,
) -> BTreeMap<String, BTreeSet<Named>> {
    let mut all = Vec::new();
    for node in said.values() {
        let had = before.get(&*node.name).map(|node| in_force(node));
        for claim in named(node) {
            let is_old = had.as_ref().is_some_and(|had| had.contains(&claim));
            let by_agent = !claimed_first || !claim.1 || node.claimed;
            let words = format!(
                "{} {} {} {:020} {} {}",
                if node.gone { "2 gone" } else { "1 live" },
                if by_agent { "1 claimed" } else { "2 given" },
                if is_old { "1 old" } else { "2 new" },
                node.created,
                node.name,
                claim.0
            );
            all.push((words, node.name.clone(), claim));
        }
    }
    all.sort();
    let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
    let mut result: BTreeMap<String, BTreeSet<Named>> = BTreeMap::new();
    for (_, name, claim) in all {
        let free = |ip: &IpAddr| owners.get(ip).is_none_or(|owner| *owner == name);
        if claim.0.iter().all(|ip| free(&ip)) {
            owners.extend(claim.0.iter().map(|ip| (ip, name.clone())));
            result.entry(name).or_default().insert(claim);
        }
    }
    result
}

/// A change of what the API says.
#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<Node>),
    Delete(Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let apply = prop::collection::vec(node(), 1..4).prop_map(Step::Apply);
    let step = prop_oneof![3 => apply, 1 => any::<Index>().prop_map(Step::Delete)];
    prop::collection::vec(step, 1..12)
}

/// The Nodes of a step, each once.
fn distinct(nodes: &[Node]) -> Vec<Node> {
    let by_name: BTreeMap<&str, &Node> = nodes.iter().map(|n| (&*n.name, n)).collect();
    by_name.into_values().cloned().collect()
}

fn put(nodes: &mut Nodes, snapshot: &mut Snapshot, all: impl Iterator<Item = Node>) {
    for node in all {
        let name: Arc<str> = node.name.as_str().into();
        nodes.apply(snapshot, &name, node, &mut Dirty::default());
    }
    nodes.settle(snapshot, &mut Dirty::default());
}

/// Each address is one Node's, and who has none of what it names is told who has.
fn check(nodes: &ByName) -> Result<(), TestCaseError> {
    for (name, node) in nodes {
        for other in nodes.values().filter(|other| other.name != **name) {
            for (x, _) in in_force(node) {
                for (y, _) in in_force(other) {
                    prop_assert!(!crate::model::overlap(x, y), "{node:?} {other:?}");
                }
            }
        }
        for refused in &node.refused {
            let by = &nodes[&refused.by];
            let mut theirs = in_force(by).into_iter();
            prop_assert!(theirs.any(|(what, _)| crate::model::overlap(what, refused.what)));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_address_has_two_nodes_and_what_a_node_has_stays_its_own(
        steps in steps(),
        claimed_first in any::<bool>(),
    ) {
        let (mut nodes, mut snapshot) = (Nodes::default(), Snapshot::default());
        nodes.claimed_first = claimed_first;
        for step in steps {
            let before = snapshot.nodes.clone();
            match step {
                Step::Apply(new) => put(&mut nodes, &mut snapshot, distinct(&new).into_iter()),
                Step::Delete(index) => {
                    nodes.delete(NAMES[index.index(NAMES.len())]);
                    nodes.settle(&mut snapshot, &mut Dirty::default());
                }
            }
            check(&snapshot.nodes)?;
            let expected = oracle(&nodes.said, &before, claimed_first);
            for (name, node) in &snapshot.nodes {
                let expected = expected.get(&**name).cloned().unwrap_or_default();
                prop_assert_eq!(in_force(node), expected);
                // Only one that is gone gives up what is still named, or one whose range another's agent has claimed.
                let had = before.get(name).map(|node| in_force(node)).unwrap_or_default();
                let still = had.intersection(&named(&nodes.said[name])).copied().collect::<Vec<_>>();
                let mut lost = still.iter().filter(|claim| !in_force(node).contains(claim));
                prop_assert!(claimed_first || node.gone || lost.next().is_none() || before[name].gone);
            }
        }
    }

    #[test]
    fn the_order_in_which_a_list_is_read_does_not_matter(
        all in prop::collection::vec(node(), 1..8),
        order in prop::collection::vec(any::<Index>(), 8),
        claimed_first in any::<bool>(),
    ) {
        let all = distinct(&all);
        let mut shuffled = all.clone();
        for (i, index) in order.iter().enumerate() {
            let len = shuffled.len();
            shuffled.swap(i % len, index.index(len));
        }
        let read = |all: Vec<Node>| {
            let (mut nodes, mut snapshot) = (Nodes::default(), Snapshot::default());
            nodes.claimed_first = claimed_first;
            put(&mut nodes, &mut snapshot, all.into_iter());
            snapshot.nodes
        };
        prop_assert_eq!(read(all), read(shuffled));
    }

    /// As the API server makes them: each younger than those that are there. Whoever sees them one by one knows what one knows
    /// who lists them.
    #[test]
    fn who_sees_nodes_come_knows_what_one_knows_who_lists_them(
        all in prop::collection::vec(node(), 1..8),
    ) {
        let mut all = distinct(&all);
        for (node, created) in all.iter_mut().rev().zip(1..) {
            node.created = created;
        }
        let (mut nodes, mut snapshot) = (Nodes::default(), Snapshot::default());
        for node in all.iter().rev() {
            put(&mut nodes, &mut snapshot, std::iter::once(node.clone()));
        }
        let (mut at_once, mut listed) = (Nodes::default(), Snapshot::default());
        put(&mut at_once, &mut listed, all.into_iter());
        prop_assert_eq!(snapshot.nodes, listed.nodes);
    }
}
