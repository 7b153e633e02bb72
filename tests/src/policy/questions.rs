//! All flows worth asking about in a small cluster, and what the oracle says of them.

use std::{collections::BTreeSet, net::IpAddr};

use proxy_agent::policy::{Direction, lookup::Question};

use super::{
    cluster::{Cluster, OWN_NODE},
    oracle,
};

/// Protocols and ports that the clusters use, and some that they do not.
pub const TRANSPORTS: [oracle::Transport; 12] = [
    (6, 79),
    (6, 80),
    (6, 81),
    (6, 84),
    (17, 80),
    (17, 81),
    (132, 80),
    (132, 81),
    (6, 65535),
    (17, 0),
    (1, 8 << 8),
    (47, 0),
];

/// Addresses of everything in the cluster, of unknown pods, and from outside.
pub fn addresses(cluster: &Cluster) -> BTreeSet<IpAddr> {
    let pods = cluster.snapshot.pods.values().flat_map(|p| p.ips.iter());
    let nodes = cluster
        .snapshot
        .nodes
        .values()
        .flat_map(|n| n.addresses.iter());
    let mut all: BTreeSet<IpAddr> = pods.chain(nodes.copied()).collect();
    for other in [
        "10.0.1.250",
        "10.0.2.250",
        "8.8.8.8",
        "172.16.5.4",
        "fd00:10:2::fa",
        "2001:db8::1",
    ] {
        all.insert(other.parse().unwrap());
    }
    all
}

/// Every question about the endpoints of the node under test.
pub fn all(cluster: &Cluster) -> Vec<Question> {
    let mut questions = Vec::new();
    for endpoint in &cluster.endpoints {
        for peer in addresses(cluster) {
            questions.extend(between(endpoint.id, peer));
        }
    }
    questions
}

/// Every question about an endpoint and an address.
pub fn between(endpoint: u32, peer: IpAddr) -> impl Iterator<Item = Question> {
    Direction::BOTH.into_iter().flat_map(move |direction| {
        TRANSPORTS
            .into_iter()
            .map(move |(protocol, port)| Question {
                endpoint,
                direction,
                peer,
                protocol,
                port,
            })
    })
}

/// What the oracle says. A pod that is not in the cluster is denied everything but its node.
pub fn expected(cluster: &Cluster, question: &Question) -> bool {
    let endpoint = cluster.endpoints.iter().find(|e| e.id == question.endpoint);
    let pod = endpoint.and_then(|e| cluster.snapshot.pods.get(&e.pod));
    let transport = (question.protocol, question.port);
    match (pod, question.direction) {
        (None, Direction::Egress) => false,
        (None, Direction::Ingress) => {
            let node = &cluster.snapshot.nodes[OWN_NODE];
            node.addresses.contains(&question.peer)
        }
        (Some(pod), Direction::Ingress) => {
            oracle::ingress_allowed(&cluster.snapshot, OWN_NODE, pod, question.peer, transport)
        }
        (Some(pod), Direction::Egress) => {
            oracle::egress_allowed(&cluster.snapshot, pod, question.peer, transport)
        }
    }
}
