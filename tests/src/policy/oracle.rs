//! The oracle: `NetworkPolicy` as `k8s.io/api/networking/v1/types.go` words it, for one flow at a time.
//!
//! It shares no code with the compiler beyond the model's label selectors.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use proxy_agent::model::{
    ContainerPort, LabelSelector, Labels, NetworkPolicy, Peer, Pod, PolicyPort, PolicyRule,
    Snapshot,
};

/// A flow's transport: protocol number and destination port.
pub type Transport = (u8, u16);

/// Whether a policy lets others begin a flow to `pod`.
pub fn ingress_allowed(
    cluster: &Snapshot,
    own_node: &str,
    pod: &Pod,
    from: IpAddr,
    transport: Transport,
) -> bool {
    let senders = holders(cluster, from);
    is_node(cluster, own_node, from)
        || judged(
            cluster,
            pod,
            |p| p.ingress.as_deref(),
            |policy, rule| {
                peers_hold(cluster, policy, rule, (from, &senders))
                    && ports_hold(rule, transport, &pod.named_ports)
            },
        )
}

/// Whether a policy lets `pod` begin a flow.
pub fn egress_allowed(cluster: &Snapshot, pod: &Pod, to: IpAddr, transport: Transport) -> bool {
    let receivers = holders(cluster, to);
    let named: Vec<_> = receivers
        .iter()
        .flat_map(|p| p.named_ports.iter().cloned())
        .collect();
    judged(
        cluster,
        pod,
        |p| p.egress.as_deref(),
        |policy, rule| {
            peers_hold(cluster, policy, rule, (to, &receivers))
                && ports_hold(rule, transport, &named)
        },
    )
}

fn judged<'a>(
    cluster: &'a Snapshot,
    pod: &Pod,
    rules: impl Fn(&'a NetworkPolicy) -> Option<&'a [PolicyRule]>,
    holds: impl Fn(&NetworkPolicy, &PolicyRule) -> bool,
) -> bool {
    let mut isolated = false;
    for policy in cluster.policies.values() {
        if policy.name.namespace() != pod.name.namespace()
            || !policy.pod_selector.matches(&pod.labels)
        {
            continue;
        }
        let Some(rules) = rules(policy) else { continue };
        isolated = true;
        if rules.iter().any(|rule| holds(policy, rule)) {
            return true;
        }
    }
    !isolated
}

fn is_node(cluster: &Snapshot, name: &str, address: IpAddr) -> bool {
    let node = cluster.nodes.get(name);
    node.is_some_and(|n| n.addresses.contains(&address))
}

/// Pods that have an address of their own, this one.
fn holders(cluster: &Snapshot, address: IpAddr) -> Vec<&Pod> {
    let pods = cluster.pods.values().map(|pod| &**pod);
    pods.filter(move |p| !p.host_network && !p.terminated && p.ips.iter().any(|ip| ip == address))
        .collect()
}

fn peers_hold(
    cluster: &Snapshot,
    policy: &NetworkPolicy,
    rule: &PolicyRule,
    (address, holders): (IpAddr, &[&Pod]),
) -> bool {
    rule.peers.is_empty()
        || rule.peers.iter().any(|peer| match peer {
            Peer::Pods { namespaces, pods } => holders.iter().any(|pod| {
                let namespace = match namespaces {
                    None => pod.name.namespace() == policy.name.namespace(),
                    Some(selector) => selector.matches(&namespace_labels(cluster, pod)),
                };
                namespace && selects(pods, &pod.labels)
            }),
            Peer::Block { cidr, except } => {
                holds(*cidr, address) && !except.iter().any(|e| holds(*e, address))
            }
            Peer::Nothing => false,
        })
}

fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    selector.matches(labels)
}

fn namespace_labels(cluster: &Snapshot, pod: &Pod) -> Labels {
    let name = pod.name.namespace();
    let mut labels = cluster
        .namespaces
        .get(name)
        .map(|n| n.labels.clone())
        .unwrap_or_default();
    labels.set("kubernetes.io/metadata.name", name);
    labels
}

fn holds(range: IpNetwork, address: IpAddr) -> bool {
    match (range, address) {
        (IpNetwork::V4(range), IpAddr::V4(address)) => range.contains(address),
        (IpNetwork::V6(range), IpAddr::V6(address)) => range.contains(address),
        _ => false,
    }
}

fn ports_hold(rule: &PolicyRule, (protocol, port): Transport, named: &[ContainerPort]) -> bool {
    rule.ports.is_empty()
        || rule.ports.iter().any(|allowed| match allowed {
            PolicyPort::All(p) => p.number() == protocol,
            PolicyPort::Range(p, low, high) => {
                p.number() == protocol && *low <= port && port <= *high
            }
            PolicyPort::Named(p, name) => {
                p.number() == protocol
                    && named
                        .iter()
                        .any(|n| *name == n.name && n.protocol == *p && n.port == port)
            }
        })
}
