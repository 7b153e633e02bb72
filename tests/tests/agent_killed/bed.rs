//! A node with pods, and two states of its cluster that differ in everything but what is probed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use serde_json::{Value, json};
use weir_tests::{
    served::serve_on,
    world::{
        Cluster, Manifests, Pod, Server,
        cluster::POD_PORT,
        manifests::{service, slice},
    },
};

pub(crate) const NODE_PORT: u16 = 30080;
/// The address that one Service has in one state, another one in the other.
const MOVING: &str = "198.51.100.5";

/// The node's pods, who serves there, and where their objects are.
pub(crate) struct Pods {
    servers: Vec<Server>,
    pub(crate) web: Pod,
    pub(crate) other: Pod,
    pub(crate) friend: Pod,
    pub(crate) stranger: Pod,
    manifests: Manifests,
}

/// The two states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    First,
    Second,
}

impl State {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    const fn is_second(self) -> bool {
        matches!(self, Self::Second)
    }
}

impl Pods {
    /// On the first node, with the objects of the first state.
    pub(crate) fn start(cluster: &Cluster) -> Result<Self> {
        let web = cluster.pod(0, "web")?;
        let other = cluster.pod(0, "other")?;
        let servers = [serve_on(&web, &[POD_PORT])?, serve_on(&other, &[POD_PORT])?];
        let pods = Self {
            servers: servers.into_iter().flatten().collect(),
            web,
            other,
            friend: cluster.pod(0, "friend")?,
            stranger: cluster.pod(0, "stranger")?,
            manifests: cluster.manifests().clone(),
        };
        pods.write(State::First)?;
        Ok(pods)
    }

    /// Writes a state's objects.
    pub(crate) fn write(&self, state: State) -> Result<()> {
        let all = [
            ("services.yaml", self.services(state)),
            ("policies.yaml", policies(state)),
            ("others.yaml", others(state)),
        ];
        for (file, objects) in all {
            self.manifests.apply_objects(file, &objects)?;
        }
        Ok(())
    }

    /// Addresses of the Service of this number.
    pub(crate) fn vips(number: u8) -> [IpAddr; 2] {
        [
            Ipv4Addr::new(10, 96, 0, number).into(),
            Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, number.into()).into(),
        ]
    }

    /// Whoever was let in and must not be.
    pub(crate) fn intruders(&self) -> Vec<SocketAddr> {
        let peers = self.servers.iter().flat_map(Server::peers);
        peers
            .filter(|peer| self.stranger.addresses().contains(&peer.ip()))
            .collect()
    }

    /// `stay`, `alpha` and `beta` are probed: what differs of them is none of the probes' business.
    fn services(&self, state: State) -> Vec<Value> {
        let second = state.is_second();
        let both = [&self.web, &self.other];
        let one = [&self.web];
        let another = [&self.other];
        let mut all = Vec::new();
        let stay = if second { &one[..] } else { &both[..] };
        let node_port = json!({ "type": "NodePort" });
        all.extend(Self::service("stay", 10, stay, &node_port));
        // An address goes from one Service to a new one that comes first by name.
        let moving = json!({ "externalIPs": [MOVING] });
        let alpha = if second { json!({}) } else { moving.clone() };
        all.extend(Self::service("alpha", 11, &one, &alpha));
        all.extend(Self::service("beta", 12, &another, &json!({})));
        if second {
            all.extend(Self::service("a-first", 16, &another, &moving));
        }
        let affinity = json!({ "sessionAffinity": if second { "ClientIP" } else { "None" } });
        all.extend(Self::service(
            "sticky",
            13,
            if second { &both } else { &one },
            &affinity,
        ));
        let local = json!({ "internalTrafficPolicy": if second { "Local" } else { "Cluster" } });
        all.extend(Self::service("local", 14, &both, &local));
        // One goes, another one comes with its address.
        let name = if second { "came" } else { "went" };
        all.extend(Self::service(
            name,
            15,
            if second { &another } else { &one },
            &json!({}),
        ));
        for number in 0..4 {
            let pods = if second == (number % 2 == 0) {
                &both[..]
            } else {
                &[]
            };
            let name = ["c0", "c1", "c2", "c3"][usize::from(number)];
            all.extend(Self::service(name, 20 + number, pods, &json!({})));
        }
        all
    }

    fn service(name: &str, number: u8, pods: &[&Pod], more: &Value) -> Vec<Value> {
        let vips = Self::vips(number);
        let mut spec = json!({
            "type": "ClusterIP", "clusterIP": vips[0], "clusterIPs": vips,
            "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack",
            "ports": [
                { "name": "tcp", "protocol": "TCP", "port": 80 },
                { "name": "udp", "protocol": "UDP", "port": 80 },
            ],
        });
        if more["type"] == "NodePort" {
            for port in spec["ports"].as_array_mut().into_iter().flatten() {
                port["nodePort"] = json!(NODE_PORT);
            }
        }
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        let ports = json!([
            { "name": "tcp", "protocol": "TCP", "port": POD_PORT },
            { "name": "udp", "protocol": "UDP", "port": POD_PORT },
        ]);
        let of = |family: usize| {
            let at: Vec<(String, &str)> = pods
                .iter()
                .map(|pod| (pod.addresses()[family].to_string(), "a"))
                .collect();
            slice(name, &ports, &at)
        };
        let mut objects = vec![service(name, &spec)];
        if !pods.is_empty() {
            objects.extend([of(0), of(1)]);
        }
        objects
    }
}

fn policy(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": name, "namespace": "default" }, "spec": spec,
    })
}

/// In both states whoever is `app: friend` reaches `app: web`, by more rules or fewer, and nobody else does.
fn policies(state: State) -> Vec<Value> {
    let app = |name: &str| json!({ "matchLabels": { "app": name } });
    let from = |name: &str| json!([{ "podSelector": app(name) }]);
    let serves = json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["web", "other"] }] });
    let mut all = vec![policy(
        "only-friend",
        &json!({
            "podSelector": serves, "policyTypes": ["Ingress"],
            "ingress": [{ "from": from("friend") }, { "from": [{ "ipBlock": { "cidr": "172.30.0.0/24" } }] }],
        }),
    )];
    if state.is_second() {
        all.push(policy(
            "more",
            &json!({
                "podSelector": app("web"), "policyTypes": ["Ingress"],
                "ingress": [{
                    "from": from("nobody"),
                    "ports": [{ "port": 8000, "endPort": 8100 }, { "port": 53, "protocol": "UDP" }],
                }],
            }),
        ));
        all.push(policy(
            "friend",
            &json!({
                "podSelector": app("friend"), "policyTypes": ["Egress"],
                "egress": [{ "to": [{ "podSelector": serves }] }],
            }),
        ));
        all.push(policy(
            "stranger",
            &json!({ "podSelector": app("stranger"), "policyTypes": ["Egress"], "egress": [{}] }),
        ));
    } else {
        all.push(policy(
            "blocks",
            &json!({
                "podSelector": app("other"), "policyTypes": ["Ingress"],
                "ingress": [{
                    "from": [{ "ipBlock": { "cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"] } }],
                    "ports": [{ "port": 443 }],
                }],
            }),
        ));
    }
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": "default", "labels": { "state": format!("{state:?}") } },
    });
    all.push(namespace);
    all
}

/// Another node, and a pod of it.
fn others(state: State) -> Vec<Value> {
    let (gateway, number) = if state.is_second() { (78, 8) } else { (77, 7) };
    let ranges = [
        format!("10.244.{number}.0/24"),
        format!("fd00:244:{number}::/64"),
    ];
    let addresses = [format!("172.30.0.{gateway}"), format!("fd30::{gateway}")];
    let addresses: Vec<Value> = addresses
        .iter()
        .map(|address| json!({ "type": "InternalIP", "address": address }))
        .collect();
    let ip = format!("10.244.{number}.5");
    vec![
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": "b" },
            "spec": { "podCIDR": ranges[0], "podCIDRs": ranges },
            "status": { "addresses": addresses },
        }),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "far", "namespace": "default", "uid": "b-far",
                "labels": { "app": if state.is_second() { "friend" } else { "nobody" } },
            },
            "spec": { "nodeName": "b", "containers": [{ "name": "main", "image": "none" }] },
            "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }] },
        }),
    ]
}
