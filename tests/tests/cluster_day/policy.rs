//! Which flows may begin, by the words of `k8s.io/api/networking/v1/types.go`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use ipnetwork::IpNetwork;
use serde_json::Value;

use super::{
    api::{Id, Kind},
    model::{Model, labels, list, number, parsed, text},
};

/// IP protocol number and destination port.
pub(crate) type Transport = (u8, u16);

/// Who begins: the other side, or the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ingress,
    Egress,
}

impl Side {
    const fn peers(self) -> &'static str {
        match self {
            Self::Ingress => "/from",
            Self::Egress => "/to",
        }
    }

    const fn rules(self) -> &'static str {
        match self {
            Self::Ingress => "/spec/ingress",
            Self::Egress => "/spec/egress",
        }
    }
}

impl Model {
    /// Whether policy lets a flow between a pod of the node and an address begin.
    pub(crate) fn allows(&self, pod: &Id, side: Side, peer: IpAddr, what: Transport) -> bool {
        let own = [IpAddr::V4(Ipv4Addr::new(172, 30, 0, 11)), own_v6()];
        if side == Side::Ingress && own.contains(&peer) {
            return true;
        }
        let Some(object) = self.objects.get(pod) else {
            return false;
        };
        let mut isolated = false;
        for (id, policy) in self.all(Kind::Policy) {
            let selector = policy.pointer("/spec/podSelector").unwrap_or(&Value::Null);
            let selects = id.namespace == pod.namespace && selects(selector, &labels(object));
            if !selects || !governs(policy, side) {
                continue;
            }
            isolated = true;
            let rules = list(policy, side.rules()).iter();
            let mut rules = rules.filter(|rule| self.peers_hold(&id.namespace, rule, side, peer));
            if rules.any(|rule| self.ports_hold(rule, side, object, peer, what)) {
                return true;
            }
        }
        !isolated
    }

    /// What there is to know when a verdict is wrong: the pod, the policies of its namespace, who has the address.
    pub(crate) fn about(&self, pod: &Id, peer: IpAddr) -> String {
        let brief = |(id, object): (&Id, &Value)| {
            let labels = &object["metadata"]["labels"];
            let status = &object["status"];
            format!("{id} {labels} {status} {}", object["spec"])
        };
        let policies = self.all(Kind::Policy);
        let policies = policies.filter(|(id, _)| id.namespace == pod.namespace);
        let own = self.objects.get_key_value(pod);
        let all = own.into_iter().chain(policies).chain(self.holders(peer));
        let all = all.chain(self.all(Kind::Namespace));
        all.map(brief).collect::<Vec<_>>().join("\n")
    }

    /// Of several pods that claim an address nobody knows which one has it: the rule holds if it would for each of them.
    fn peers_hold(&self, namespace: &str, rule: &Value, side: Side, peer: IpAddr) -> bool {
        let peers = list(rule, side.peers());
        let holders = self.holders(peer);
        let named = |holder: &(&Id, &Value)| {
            let mut peers = peers.iter();
            peers.any(|peer| self.names_pod(namespace, peer, *holder))
        };
        peers.is_empty()
            || peers.iter().any(|p| names_address(p, peer))
            || (!holders.is_empty() && holders.iter().all(named))
    }

    fn names_pod(&self, namespace: &str, peer: &Value, (id, pod): (&Id, &Value)) -> bool {
        let pods = peer.get("podSelector");
        let namespaces = peer.get("namespaceSelector");
        let namespace = match namespaces {
            None => id.namespace == namespace,
            Some(selector) => selects(selector, &self.namespace(&id.namespace)),
        };
        (pods.is_some() || namespaces.is_some())
            && namespace
            && pods.is_none_or(|selector| selects(selector, &labels(pod)))
    }

    fn namespace(&self, name: &str) -> BTreeMap<String, String> {
        let object = self.get(Kind::Namespace, "", name);
        let mut labels = object.map(labels).unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
        labels
    }

    /// Pods that have an address of their own, this one. What a pod of this node has been wired with is nobody else's,
    /// and a node's address is no pod's.
    fn holders(&self, ip: IpAddr) -> Vec<(&Id, &Value)> {
        if self.nodes.addresses().contains(&ip) {
            return Vec::new();
        }
        let mut wired = self.wired.iter();
        let local = wired.find(|(_, wired)| wired.addresses.contains(&ip));
        let all = self.all(Kind::Pod);
        match local {
            Some((name, _)) => all
                .filter(|(id, _)| id.namespace == "default" && id.name == *name)
                .collect(),
            None => all.filter(|(_, pod)| has(pod, ip)).collect(),
        }
    }

    fn ports_hold(
        &self,
        rule: &Value,
        side: Side,
        pod: &Value,
        peer: IpAddr,
        (protocol, port): Transport,
    ) -> bool {
        let ports = list(rule, "/ports");
        if ports.is_empty() {
            return true;
        }
        let named = match side {
            Side::Ingress => named_ports(pod),
            Side::Egress => {
                let holders = self.holders(peer).into_iter();
                let each = holders.map(|(_, pod)| named_ports(pod));
                each.reduce(|mut all, some| {
                    all.retain(|port| some.contains(port));
                    all
                })
                .unwrap_or_default()
            }
        };
        ports.iter().any(|allowed| {
            let wanted = transport(text(allowed, "/protocol"));
            let first = number(allowed, "/port");
            let last = number(allowed, "/endPort").max(first);
            let name = text(allowed, "/port");
            wanted == protocol
                && match allowed.get("port") {
                    None => true,
                    Some(Value::String(_)) => named
                        .iter()
                        .any(|own| *own == (name.to_owned(), protocol, port)),
                    Some(_) => first <= port && port <= last,
                }
        })
    }
}

fn names_address(peer: &Value, ip: IpAddr) -> bool {
    let Some(block) = peer.get("ipBlock") else {
        return false;
    };
    let holds = |range: &str| parsed(range).is_some_and(|r: IpNetwork| r.contains(ip));
    let mut excepted = list(block, "/except").iter().filter_map(Value::as_str);
    holds(text(block, "/cidr")) && !excepted.any(holds)
}

fn own_v6() -> IpAddr {
    parsed("fd30::b").unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

fn has(pod: &Value, ip: IpAddr) -> bool {
    let over = ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"));
    let host = pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
    let ips = list(pod, "/status/podIPs").iter();
    !over
        && !host
        && ips
            .filter_map(|it| parsed(text(it, "/ip")))
            .any(|own: IpAddr| own == ip)
}

/// Name, protocol and number of the ports of containers that stay.
fn named_ports(pod: &Value) -> Vec<(String, u8, u16)> {
    let stays = |c: &&Value| text(c, "/restartPolicy") == "Always";
    let sidecars = list(pod, "/spec/initContainers").iter().filter(stays);
    let containers = list(pod, "/spec/containers").iter().chain(sidecars);
    let ports = containers.flat_map(|c| list(c, "/ports"));
    let ports = ports.filter(|p| !text(p, "/name").is_empty());
    ports
        .map(|p| {
            let protocol = transport(text(p, "/protocol"));
            (
                text(p, "/name").to_owned(),
                protocol,
                number(p, "/containerPort"),
            )
        })
        .collect()
}

fn transport(protocol: &str) -> u8 {
    match protocol {
        "UDP" => 17,
        "SCTP" => 132,
        _ => 6,
    }
}

/// `policyTypes`; by default ingress, and egress if there are such rules.
fn governs(policy: &Value, side: Side) -> bool {
    let types = list(policy, "/spec/policyTypes");
    let named = |name: &str| types.iter().any(|t| t.as_str() == Some(name));
    match side {
        Side::Ingress => types.is_empty() || named("Ingress"),
        Side::Egress if types.is_empty() => !list(policy, "/spec/egress").is_empty(),
        Side::Egress => named("Egress"),
    }
}

fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.get("matchLabels").and_then(Value::as_object);
    let mut equal = equal.into_iter().flatten();
    equal.all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str())
        && list(selector, "/matchExpressions")
            .iter()
            .all(|e| meets(e, labels))
}

fn meets(expression: &Value, labels: &BTreeMap<String, String>) -> bool {
    let has = labels.get(text(expression, "/key"));
    let values = list(expression, "/values");
    let listed = has.is_some_and(|has| values.iter().any(|v| v.as_str() == Some(has)));
    match text(expression, "/operator") {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => has.is_some(),
        _ => has.is_none(),
    }
}
