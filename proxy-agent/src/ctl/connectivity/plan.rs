//! Which tests there are on a cluster: a value.

use std::fmt;

use super::topology::{Family, Topology};

/// What a pod is for. One of each runs on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Asks, and guarded pods may ask it.
    Client,
    /// Is behind Services, and may ask guarded pods.
    Server,
    /// Has policies for both directions.
    Guarded,
}

/// A pod: what for, and on which of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member(pub(super) Role, pub(super) usize);

impl Role {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Client, Self::Server, Self::Guarded];

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Guarded => "guarded",
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.name(), self.1)
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// A pod.
    Pod(Member),
    /// A node, outside of all pods: its agent's container.
    Host(usize),
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// A pod, by its own address.
    Pod(Member),
    /// The Service of the server on a node, by its cluster IP.
    Service(usize),
    /// That Service, by its port on that node.
    NodePort(usize),
    /// That Service, by its name.
    Name(usize),
    /// All servers, by the name of the Service without an address.
    Headless,
    /// A node: its kubelet, which listens on every node.
    Host(usize),
}

/// What should come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// An answer of this pod, which sees the client's own address if so told; of anybody, if no pod is named.
    Answer {
        /// Who answers.
        by: Option<Member>,
        /// Whether the client's address is kept.
        as_itself: bool,
    },
    /// Nothing at all.
    Silence,
}

/// A test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    /// What is tested, the family, and the nodes of both sides.
    pub(super) name: String,
    pub(super) from: From,
    pub(super) to: To,
    pub(super) family: Family,
    pub(super) udp: bool,
    pub(super) wanted: Wanted,
}

/// One test of two nodes, which may be one.
struct Kind {
    name: &'static str,
    from: From,
    to: To,
    wanted: Wanted,
}

/// All tests of a cluster. Those that want silence are the last: by then who is asked has answered others.
pub(super) fn plan(topology: &Topology) -> Vec<Case> {
    let mut cases = Vec::new();
    for &family in &topology.families {
        for (a, b) in pairs(topology.nodes.len()) {
            let kinds = of_pair(a, b, topology.dns);
            let named = kinds
                .into_iter()
                .map(|kind| kind.case(topology, family, (a, b)));
            cases.extend(named);
        }
    }
    cases.sort_by_key(|case| case.wanted == Wanted::Silence);
    cases
}

/// Each node with itself, and with the next one.
fn pairs(nodes: usize) -> impl Iterator<Item = (usize, usize)> {
    let own = (0..nodes).map(|node| (node, node));
    let next = (0..nodes).map(move |node| (node, (node + 1) % nodes));
    own.chain(next.filter(|(a, b)| a != b))
}

fn of_pair(a: usize, b: usize, dns: bool) -> Vec<Kind> {
    let [client, server, guarded] = Role::ALL.map(|role| Member(role, a));
    let [peer, far, closed] = Role::ALL.map(|role| Member(role, b));
    let answer = |by| Wanted::Answer {
        by: Some(by),
        as_itself: false,
    };
    let itself = |by| Wanted::Answer {
        by: Some(by),
        as_itself: true,
    };
    let anybody = Wanted::Answer {
        by: None,
        as_itself: false,
    };
    let from = From::Pod;
    let kind = |name, from, to, wanted| Kind {
        name,
        from,
        to,
        wanted,
    };
    let mut kinds = vec![
        kind("pod-to-pod", from(client), To::Pod(far), itself(far)),
        kind("pod-to-pod-udp", from(client), To::Pod(far), itself(far)),
        kind("pod-to-service", from(client), To::Service(b), itself(far)),
        kind(
            "pod-to-service-udp",
            from(client),
            To::Service(b),
            itself(far),
        ),
        kind(
            "pod-to-nodeport",
            from(client),
            To::NodePort(b),
            answer(far),
        ),
        kind("pod-to-host", from(client), To::Host(b), anybody),
        kind("host-to-pod", From::Host(a), To::Pod(far), answer(far)),
        kind(
            "host-to-service",
            From::Host(a),
            To::Service(b),
            answer(far),
        ),
        kind(
            "host-to-nodeport",
            From::Host(a),
            To::NodePort(b),
            answer(far),
        ),
        kind(
            "policy-allow",
            from(server),
            To::Pod(closed),
            itself(closed),
        ),
        kind(
            "policy-allow-egress",
            from(guarded),
            To::Pod(peer),
            itself(peer),
        ),
        kind(
            "policy-deny",
            from(client),
            To::Pod(closed),
            Wanted::Silence,
        ),
        kind(
            "policy-deny-egress",
            from(guarded),
            To::Pod(far),
            Wanted::Silence,
        ),
        kind(
            "policy-deny-service",
            from(guarded),
            To::Service(b),
            Wanted::Silence,
        ),
    ];
    if a == b {
        kinds.push(kind(
            "hairpin",
            from(server),
            To::Service(b),
            answer(server),
        ));
    }
    if dns {
        kinds.push(kind("dns", from(client), To::Name(b), answer(far)));
        kinds.push(kind("dns-headless", from(client), To::Headless, anybody));
    }
    kinds
}

impl Kind {
    fn case(self, topology: &Topology, family: Family, (a, b): (usize, usize)) -> Case {
        let [a, b] = [a, b].map(|node| topology.nodes[node].as_str());
        Case {
            name: format!("{}/{family}/{a}/{b}", self.name),
            from: self.from,
            to: self.to,
            family,
            udp: self.name.ends_with("-udp"),
            wanted: self.wanted,
        }
    }
}

impl Case {
    /// The nodes of who asks and of who is asked.
    pub(super) fn nodes(&self) -> Vec<usize> {
        let from = match self.from {
            From::Pod(Member(_, node)) | From::Host(node) => node,
        };
        let to = match self.to {
            To::Pod(Member(_, node))
            | To::Service(node)
            | To::NodePort(node)
            | To::Name(node)
            | To::Host(node) => node,
            To::Headless => from,
        };
        let mut nodes = vec![from, to];
        nodes.dedup();
        nodes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Case, Family, From, Member, Role, To, Topology, Wanted, plan};

    fn topology(nodes: &[&str], families: &[Family], dns: bool) -> Topology {
        Topology {
            nodes: nodes.iter().map(ToString::to_string).collect(),
            families: families.to_vec(),
            dns,
        }
    }

    fn kinds(cases: &[Case]) -> BTreeSet<&str> {
        let kinds = cases.iter().filter_map(|case| case.name.split('/').next());
        kinds.collect()
    }

    #[test]
    fn each_test_has_a_name_of_its_own() {
        let both = [Family::Ipv4, Family::Ipv6];
        for nodes in [&["a"][..], &["a", "b"], &["a", "b", "c"]] {
            let cases = plan(&topology(nodes, &both, true));
            let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
            assert_eq!(names.len(), cases.len());
            let (v4, v6): (Vec<&str>, Vec<&str>) =
                names.iter().partition(|name| name.contains("/ipv4/"));
            assert_eq!(v4.len(), v6.len());
        }
    }

    #[test]
    fn every_node_is_tested_with_itself_and_as_both_sides_of_another() {
        let cases = plan(&topology(&["a", "b", "c"], &[Family::Ipv6], false));
        let of_pod: Vec<&str> = cases
            .iter()
            .filter_map(|case| case.name.strip_prefix("pod-to-pod/ipv6/"))
            .collect();
        assert_eq!(of_pod, ["a/a", "b/b", "c/c", "a/b", "b/c", "c/a"]);
        let alone = plan(&topology(&["a"], &[Family::Ipv4], false));
        assert!(alone.iter().all(|case| case.name.ends_with("/a/a")));
        assert!(plan(&topology(&[], &[Family::Ipv4], true)).is_empty());
    }

    #[test]
    fn who_must_not_be_reached_has_been_reached_by_others_before() {
        let cases = plan(&topology(&["a", "b"], &[Family::Ipv4], true));
        let silent = |case: &Case| case.wanted == Wanted::Silence;
        let first = cases.iter().position(silent).unwrap();
        assert!(cases[first..].iter().all(silent));
        for case in &cases[first..] {
            let (From::Pod(from), to) = (case.from, case.to) else {
                panic!("{case:?}");
            };
            let asked = match to {
                To::Service(node) => Member(Role::Server, node),
                To::Pod(pod) => pod,
                _ => panic!("{case:?}"),
            };
            let reached = |other: &Case| matches!(other.wanted, Wanted::Answer { by, .. } if by == Some(asked));
            assert!(cases[..first].iter().any(reached), "{case:?}");
            assert!(
                from.0 == Role::Guarded || asked.0 == Role::Guarded,
                "{case:?}"
            );
        }
    }

    #[test]
    fn names_are_asked_only_where_there_is_dns() {
        let of = |dns| plan(&topology(&["a", "b"], &[Family::Ipv4], dns));
        let (with, without) = (of(true), of(false));
        let more: Vec<&str> = kinds(&with).difference(&kinds(&without)).copied().collect();
        assert_eq!(more, ["dns", "dns-headless"]);
        assert!(kinds(&without).contains("hairpin"));
    }
}
