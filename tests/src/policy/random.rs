//! Random small clusters and random edits of them.

use ipnetwork::IpNetwork;
use proptest::prelude::*;
use proxy_agent::model::{ContainerPort, NetworkPolicy, Peer, PolicyPort, PolicyRule, Protocol};

use super::cluster::{Cluster, object, policy, rule, select};

const SELECTORS: [&str; 8] = [
    "",
    "app=a",
    "app=b",
    "app in a,b",
    "app notin a",
    "tier",
    "!tier",
    "app=a;tier=x",
];
const NAMESPACE_SELECTORS: [&str; 5] = [
    "",
    "team=red",
    "team notin red",
    "kubernetes.io/metadata.name=n1",
    "!team",
];
const LABELS: [&str; 5] = ["", "app=a", "app=b", "app=a tier=x", "app=c tier=y"];
const CIDRS: [&str; 10] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.1.0/24",
    "10.0.2.0/24",
    "10.0.2.2/32",
    "10.0.1.3/32",
    "192.168.0.0/31",
    "fd00::/16",
    "fd00:10:2::/64",
    "8.8.8.0/24",
];
const NAMES: [&str; 4] = ["web", "dns", "serve-80-tcp", "serve-81-udp"];
const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

/// One thing that happens to a cluster.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A pod (number) appears or changes its labels and named ports.
    Pod(u8, usize, Vec<ContainerPort>),
    /// A pod goes.
    RemovePod(u8),
    /// A pod ends, or uses its node's network.
    Demote(u8, bool),
    /// A namespace appears or changes its labels.
    Namespace(u8, Option<usize>),
    /// A policy appears or changes.
    Policy(Box<NetworkPolicy>),
    /// A policy goes.
    RemovePolicy(u8, u8),
}

/// A random edit.
pub fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (0..8_u8, 0..LABELS.len(), ports()).prop_map(|(n, l, p)| Edit::Pod(n, l, p)),
        1 => (0..8_u8).prop_map(Edit::RemovePod),
        1 => (0..8_u8, any::<bool>()).prop_map(|(n, host)| Edit::Demote(n, host)),
        1 => (0..3_u8, prop::option::of(0..2_usize)).prop_map(|(n, l)| Edit::Namespace(n, l)),
        4 => network_policy().prop_map(|p| Edit::Policy(Box::new(p))),
        1 => (0..3_u8, 0..3_u8).prop_map(|(n, p)| Edit::RemovePolicy(n, p)),
    ]
}

/// Does what an edit says. Even pods are on the node under test.
pub fn apply(cluster: &mut Cluster, edit: &Edit) {
    let name = |n: u8| format!("n{}/p{n}", n % 3);
    match edit {
        Edit::Pod(n, text, ports) => {
            cluster.pod(&name(*n), LABELS[*text], 1 + n % 2, n + 2);
            cluster.change_pod(&name(*n), |pod| {
                pod.named_ports = pod.named_ports.iter().chain(ports).cloned().collect();
            });
        }
        Edit::RemovePod(n) => {
            cluster.remove_pod(&name(*n));
        }
        Edit::Demote(n, host) => {
            if cluster.snapshot.pods.contains_key(&object(&name(*n))) && n % 2 == 1 {
                cluster.change_pod(&name(*n), |pod| {
                    pod.terminated = !host;
                    pod.host_network = *host;
                });
            }
        }
        Edit::Namespace(n, text) => {
            let text = text.map_or("", |t| ["team=red", "team=blue"][t]);
            cluster.namespace(&format!("n{n}"), text);
        }
        Edit::Policy(policy) => {
            cluster.policy(NetworkPolicy::clone(policy));
        }
        Edit::RemovePolicy(n, p) => {
            cluster.remove_policy(&format!("n{n}/policy{p}"));
        }
    }
}

fn ports() -> impl Strategy<Value = Vec<ContainerPort>> {
    let port = (
        0..2_usize,
        0..3_usize,
        prop::sample::select(vec![79_u16, 80, 81, 84]),
    );
    let port = port.prop_map(|(name, protocol, port)| ContainerPort {
        name: NAMES[name].into(),
        protocol: PROTOCOLS[protocol],
        port,
    });
    prop::collection::vec(port, 0..3)
}

fn network_policy() -> impl Strategy<Value = NetworkPolicy> {
    let rules = || prop::option::of(prop::collection::vec(policy_rule(), 0..3));
    let name = (0..3_u8, 0..3_u8).prop_map(|(n, p)| format!("n{n}/policy{p}"));
    (name, 0..SELECTORS.len(), rules(), rules()).prop_map(|(name, selector, ingress, egress)| {
        policy(&name, SELECTORS[selector], ingress, egress)
    })
}

fn policy_rule() -> impl Strategy<Value = PolicyRule> {
    let peers = prop::collection::vec(peer(), 0..3);
    let ports = prop::collection::vec(policy_port(), 0..3);
    (peers, ports).prop_map(|(peers, ports)| rule(peers, ports))
}

fn peer() -> impl Strategy<Value = Peer> {
    let pods = (
        prop::option::of(0..NAMESPACE_SELECTORS.len()),
        0..SELECTORS.len(),
    );
    let pods = pods.prop_map(|(namespaces, pods)| Peer::Pods {
        namespaces: namespaces.map(|n| select(NAMESPACE_SELECTORS[n])),
        pods: select(SELECTORS[pods]),
    });
    let block = (0..CIDRS.len(), prop::collection::vec(0..CIDRS.len(), 0..3));
    let block = block.prop_map(|(cidr, except)| {
        let cidr: IpNetwork = CIDRS[cidr].parse().unwrap();
        let inside = |e: &IpNetwork| {
            e.is_ipv4() == cidr.is_ipv4() && e.prefix() > cidr.prefix() && cidr.contains(e.ip())
        };
        let except = except.into_iter().map(|e| CIDRS[e].parse().unwrap());
        Peer::Block {
            cidr,
            except: except.filter(inside).collect(),
        }
    });
    prop_oneof![6 => pods, 4 => block, 1 => Just(Peer::Nothing)]
}

fn policy_port() -> impl Strategy<Value = PolicyPort> {
    let protocol = prop::sample::select(PROTOCOLS.to_vec());
    let range = (
        protocol.clone(),
        prop::sample::select(vec![0_u16, 79, 80, 81]),
        0..6_u16,
    );
    prop_oneof![
        1 => protocol.clone().prop_map(PolicyPort::All),
        3 => range.prop_map(|(p, low, len)| PolicyPort::Range(p, low, low + len)),
        3 => (protocol, 0..NAMES.len()).prop_map(|(p, n)| PolicyPort::Named(p, NAMES[n].into())),
    ]
}

/// A cluster with three namespaces and nothing else.
pub fn start() -> Cluster {
    let mut cluster = Cluster::new();
    cluster
        .namespace("n0", "team=red")
        .namespace("n1", "team=blue");
    cluster.namespace("n2", "");
    cluster
}
