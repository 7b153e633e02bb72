//! Deduplication of Events: what all nodes find alike is told by one of them, or each fact would be as many Events as there are nodes.
//!
//! Of the nodes that have a ready kubelet and an agent that has opened them, the one whose name and the fact make the highest number
//! (rendezvous hashing): all agree that know the same Nodes, and only what a node had told moves when it is gone.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    model::{NetworkUnavailable, Node, Notice},
    pools::beat::{hash_name, mix},
};

/// Whether this node tells it.
pub(super) fn is_ours(notice: &Notice, nodes: &BTreeMap<Arc<str>, Arc<Node>>, here: &str) -> bool {
    if !notice.is_everywhere() {
        return true;
    }
    let (kind, object) = (notice.kind, &notice.object);
    let fact = hash_name(&format!("{kind} {object} {}", notice.reason.name()));
    let tellers = nodes.values().filter(|node| tells(node));
    let teller = tellers.max_by_key(|node| (mix(hash_name(&node.name) ^ fact), &node.name));
    // Where no agent is known to be up each speaks for itself.
    teller.is_none_or(|teller| teller.name == here)
}

fn tells(node: &Node) -> bool {
    let said = node.network_unavailable.as_ref();
    let is_up = said.is_some_and(|said| !said.is_true && said.reason == NetworkUnavailable::UP);
    is_up && node.ready && !node.gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventReason, Kind, ObjectName};

    const NAMES: [&str; 3] = ["a", "b", "c"];

    /// By each of them a node tells nothing any more.
    const CHANGES: [fn(&mut Node); 4] = [
        |node| node.ready = false,
        |node| node.gone = true,
        |node| node.network_unavailable = None,
        |node| {
            let gone = NetworkUnavailable::yes(NetworkUnavailable::GONE, "");
            node.network_unavailable = Some(gone);
        },
    ];

    fn nodes() -> BTreeMap<Arc<str>, Arc<Node>> {
        let node = |name: &str| Node {
            name: name.to_owned(),
            ready: true,
            network_unavailable: Some(NetworkUnavailable::no()),
            ..Node::default()
        };
        NAMES
            .iter()
            .map(|name| ((*name).into(), Arc::new(node(name))))
            .collect()
    }

    fn clash(kind: Kind, name: &str) -> Notice {
        Notice {
            kind,
            object: ObjectName::new("x", name),
            reason: EventReason::AddressConflict,
            note: "taken".to_owned(),
        }
    }

    fn tellers(notice: &Notice, nodes: &BTreeMap<Arc<str>, Arc<Node>>) -> Vec<&'static str> {
        let names = NAMES.into_iter();
        names.filter(|name| is_ours(notice, nodes, name)).collect()
    }

    #[test]
    fn one_tells_and_another_one_when_it_is_not_ready() {
        let all = nodes();
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for n in 0..300 {
            let notice = clash(Kind::Service, &n.to_string());
            let by = tellers(&notice, &all);
            assert_eq!(by.len(), 1, "{notice:?}");
            *told.entry(by[0]).or_default() += 1;
            for change in CHANGES {
                let mut fewer = all.clone();
                change(Arc::make_mut(fewer.get_mut(by[0]).unwrap()));
                let others = tellers(&notice, &fewer);
                assert!(others.len() == 1 && others != by, "{others:?}");
                let mut fewer = all.clone();
                change(Arc::make_mut(fewer.get_mut(others[0]).unwrap()));
                assert_eq!(tellers(&notice, &fewer), by, "it stays where it was");
            }
        }
        assert!(told.values().all(|count| *count > 50), "{told:?}");
    }

    #[test]
    fn what_is_so_on_a_node_alone_that_node_tells() {
        assert_eq!(tellers(&clash(Kind::Pod, "p"), &nodes()), NAMES);
        assert_eq!(tellers(&clash(Kind::Service, "s"), &BTreeMap::new()), NAMES);
    }
}
