//! Small clusters, written down in few words.

use std::{net::IpAddr, sync::Arc};

use proxy_agent::{
    model::{
        Completeness, ContainerPort, Kind, LabelSelector, Labels, Namespace, NetworkPolicy, Node,
        ObjectName, Operator, Peer, Pod, PolicyPort, PolicyRule, Protocol, Requirement, Snapshot,
    },
    policy::LocalEndpoint,
};

/// Name of the node whose engine is tested.
pub const OWN_NODE: &str = "node-1";

/// A cluster and the endpoints of [`OWN_NODE`].
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// All objects.
    pub snapshot: Snapshot,
    /// The pods of the node under test.
    pub endpoints: Vec<LocalEndpoint>,
}

impl Cluster {
    /// Two nodes with a pod range each, in both families, and no pods.
    pub fn new() -> Self {
        let mut cluster = Self::default();
        cluster.snapshot.complete = Completeness(Kind::ALL.into_iter().collect());
        for n in 1..=2 {
            let addresses = vec![ip(&format!("192.168.0.{n}")), ip(&format!("fd00::{n}"))];
            let node = Node {
                name: format!("node-{n}"),
                internal_ips: addresses.clone(),
                addresses,
                pod_cidrs: vec![
                    format!("10.0.{n}.0/24").parse().unwrap(),
                    format!("fd00:10:{n}::/64").parse().unwrap(),
                ],
                ..Node::default()
            };
            let name = node.name.as_str().into();
            cluster.snapshot.nodes.insert(name, Arc::new(node));
        }
        cluster
    }

    /// Adds or replaces a namespace.
    pub fn namespace(&mut self, name: &str, text: &str) -> &mut Self {
        let namespace = Namespace {
            name: name.into(),
            labels: labels(text),
        };
        self.snapshot
            .namespaces
            .insert(name.into(), Arc::new(namespace));
        self
    }

    /// Adds or replaces a pod: `"ns/name"`, `"key=value ..."`, node number, host part of its addresses. Serves
    /// `serve-80-tcp` and so on, as agnhost does in upstream's tests.
    pub fn pod(&mut self, name: &str, text: &str, node: u8, host: u8) -> &mut Self {
        let name = object(name);
        let ips = vec![
            ip(&format!("10.0.{node}.{host}")),
            ip(&format!("fd00:10:{node}::{host:x}")),
        ];
        if format!("node-{node}") == OWN_NODE {
            self.endpoints.retain(|e| e.pod != name);
            self.endpoints.push(LocalEndpoint {
                id: u32::from(host),
                pod: name.clone(),
                uid: format!("uid-{name}"),
                ips: ips.clone(),
                fetched: None,
            });
        }
        let pod = Pod {
            uid: format!("uid-{name}").as_str().into(),
            name: name.clone(),
            labels: labels(text),
            node: format!("node-{node}").into(),
            ips: ips.into(),
            named_ports: served().into(),
            ..Pod::default()
        };
        self.snapshot.pods.insert(name, Arc::new(pod));
        self
    }

    /// Changes a pod.
    pub fn change_pod(&mut self, name: &str, change: impl FnOnce(&mut Pod)) -> &mut Self {
        let pod = self
            .snapshot
            .pods
            .get_mut(&object(name))
            .expect("no such pod");
        change(Arc::make_mut(pod));
        self
    }

    /// Removes a pod, and its endpoint if it is local.
    pub fn remove_pod(&mut self, name: &str) -> &mut Self {
        let name = object(name);
        self.snapshot.pods.remove(&name);
        self.endpoints.retain(|e| e.pod != name);
        self
    }

    /// Adds or replaces a policy.
    pub fn policy(&mut self, policy: NetworkPolicy) -> &mut Self {
        self.snapshot
            .policies
            .insert(policy.name.clone(), Arc::new(policy));
        self
    }

    /// Removes a policy.
    pub fn remove_policy(&mut self, name: &str) -> &mut Self {
        self.snapshot.policies.remove(&object(name));
        self
    }

    /// A pod.
    pub fn get(&self, name: &str) -> &Pod {
        &self.snapshot.pods[&object(name)]
    }
}

fn served() -> Vec<ContainerPort> {
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let ports = protocols.into_iter().flat_map(|p| [(p, 80), (p, 81)]);
    ports
        .map(|(protocol, port)| ContainerPort {
            name: format!("serve-{port}-{}", protocol.to_string().to_lowercase()),
            protocol,
            port,
        })
        .collect()
}

/// `"namespace/name"`.
pub fn object(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').expect("namespace/name");
    ObjectName::new(namespace, name)
}

/// An address.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `"key=value key=value"`.
pub fn labels(text: &str) -> Labels {
    let pairs = text
        .split_whitespace()
        .map(|pair| pair.split_once('=').expect("key=value"));
    pairs.collect()
}

/// A selector: `"key=value"`, `"key in a,b"`, `"key notin a,b"`, `"key"`, `"!key"`, several joined by `;`.
pub fn select(text: &str) -> LabelSelector {
    let parts = text.split(';').map(str::trim).filter(|p| !p.is_empty());
    LabelSelector {
        requirements: parts.map(requirement).collect(),
    }
}

fn requirement(text: &str) -> Requirement {
    let list = |values: &str| {
        let mut values: Vec<_> = values.split(',').map(str::to_owned).collect();
        values.sort();
        values
    };
    let (key, operator, values) = if let Some((key, values)) = text.split_once(" notin ") {
        (key, Operator::NotIn, list(values))
    } else if let Some((key, values)) = text.split_once(" in ") {
        (key, Operator::In, list(values))
    } else if let Some((key, value)) = text.split_once('=') {
        (key, Operator::In, vec![value.to_owned()])
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Operator::DoesNotExist, Vec::new())
    } else {
        (text, Operator::Exists, Vec::new())
    };
    Requirement {
        key: key.to_owned(),
        operator,
        values,
    }
}

/// A policy on the pods that a selector selects.
pub fn policy(
    name: &str,
    pods: &str,
    ingress: Option<Vec<PolicyRule>>,
    egress: Option<Vec<PolicyRule>>,
) -> NetworkPolicy {
    NetworkPolicy {
        name: object(name),
        pod_selector: select(pods),
        ingress: ingress.map(Into::into),
        egress: egress.map(Into::into),
    }
}

/// A rule.
pub fn rule(peers: Vec<Peer>, ports: Vec<PolicyPort>) -> PolicyRule {
    PolicyRule {
        ports: ports.into(),
        peers: peers.into(),
    }
}

/// A rule for everyone and everything.
pub fn anything() -> PolicyRule {
    PolicyRule::default()
}

/// Pods of the policy's own namespace.
pub fn pods(selector: &str) -> Peer {
    Peer::Pods {
        namespaces: None,
        pods: select(selector),
    }
}

/// All pods of the selected namespaces.
pub fn namespaces(selector: &str) -> Peer {
    both(selector, "")
}

/// Selected pods of selected namespaces.
pub fn both(namespaces: &str, pods: &str) -> Peer {
    Peer::Pods {
        namespaces: Some(select(namespaces)),
        pods: select(pods),
    }
}

/// An `ipBlock`.
pub fn block(cidr: &str, except: &[&str]) -> Peer {
    Peer::Block {
        cidr: cidr.parse().unwrap(),
        except: except.iter().map(|e| e.parse().unwrap()).collect(),
    }
}

/// One TCP port.
pub fn tcp(port: u16) -> PolicyPort {
    PolicyPort::Range(Protocol::Tcp, port, port)
}

/// One UDP port.
pub fn udp(port: u16) -> PolicyPort {
    PolicyPort::Range(Protocol::Udp, port, port)
}

/// One SCTP port.
pub fn sctp(port: u16) -> PolicyPort {
    PolicyPort::Range(Protocol::Sctp, port, port)
}

/// A named port.
pub fn named(protocol: Protocol, name: &str) -> PolicyPort {
    PolicyPort::Named(protocol, name.into())
}
