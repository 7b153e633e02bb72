//! Pods that serve behind Services, on a cluster of namespaces.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};

use crate::world::{
    Cluster, Place, Pod, Server, ask_tcp, ask_udp, ask_udp_connected,
    cluster::{POD_PORT, SERVICE_PORT},
};

/// TCP and UDP servers of both families on ports of a pod; they answer with its name.
pub fn serve_on(pod: &Pod, ports: &[u16]) -> Result<Vec<Server>> {
    let at = ports.iter().flat_map(|port| pod.at(*port));
    at.flat_map(|at| {
        [
            Server::tcp(pod, at, pod.name()),
            Server::udp(pod, at, pod.name()),
        ]
    })
    .collect()
}

/// [`serve_on`] the port behind every Service.
pub fn serve(pod: &Pod) -> Result<Vec<Server>> {
    serve_on(pod, &[POD_PORT])
}

/// Waits until TCP and UDP answer at an address.
pub fn await_answer(cluster: &Cluster, place: &Place, to: SocketAddr) -> Result<()> {
    cluster.eventually(&format!("TCP answer of {to}"), || ask_tcp(place, to).ok())?;
    cluster.eventually(&format!("UDP answer of {to}"), || {
        ask_udp(place, to, b"?").ok()
    })?;
    Ok(())
}

/// Who answers at an address, by every way of asking. The client talks to the address that it asked for, whoever
/// serves it.
pub fn ask_all(place: &Place, to: SocketAddr) -> [String; 3] {
    let answers = [
        ("TCP", ask_tcp(place, to)),
        ("UDP", ask_udp(place, to, b"?")),
        ("UDP, connected", ask_udp_connected(place, to, b"?")),
    ];
    answers.map(|(how, answer)| {
        let answer = answer.unwrap_or_else(|error| panic!("{how} {to}: {error}"));
        assert_eq!(answer.peer, to, "{how}");
        answer.name
    })
}

/// Makes a Service of these pods; where clients reach it, in both families.
pub fn service(
    cluster: &Cluster,
    name: &str,
    number: u8,
    pods: &[&Pod],
) -> Result<[SocketAddr; 2]> {
    let addresses = cluster.service(name, number, pods, &json!({}))?;
    Ok(addresses.map(|address| SocketAddr::new(address, SERVICE_PORT)))
}

/// A pod that serves, behind a Service of its own.
pub struct Served {
    /// Its servers.
    pub servers: Vec<Server>,
    /// The pod.
    pub pod: Pod,
    /// Where its Service is reached, in both families.
    pub to: [SocketAddr; 2],
}

/// One after the other: a pod on the first node, then one on the second.
pub fn near_then_far(cluster: &Cluster) -> impl Iterator<Item = Result<Served>> {
    [(0, "near", 80), (1, "far", 81)]
        .into_iter()
        .map(|(node, name, number)| {
            let pod = cluster.pod(node, name)?;
            Ok(Served {
                servers: serve(&pod)?,
                to: service(cluster, name, number, &[&pod])?,
                pod,
            })
        })
}

/// A client on the first node, a pod that serves on the first and on the last, one Service before both.
pub struct Pair {
    /// Servers of both.
    pub servers: Vec<Server>,
    /// The pod on the first node.
    pub near: Pod,
    /// The pod on the last node.
    pub far: Pod,
    /// Who asks.
    pub client: Pod,
    /// Where the Service is reached, in both families.
    pub to: [SocketAddr; 2],
    /// All of it; ends last.
    pub cluster: Cluster,
}

impl Pair {
    /// Starts agents with these flags, makes the pods and the Service.
    pub fn start(name: &str, nodes: &[&str], flags: &[&str]) -> Result<Self> {
        Self::on(Cluster::start(name, nodes, flags)?, nodes.len() - 1)
    }

    /// Makes the pods and the Service on a cluster whose last node has this index.
    pub fn on(cluster: Cluster, last: usize) -> Result<Self> {
        let client = cluster.pod(0, "client")?;
        let (near, far) = (cluster.pod(0, "near")?, cluster.pod(last, "far")?);
        let servers = [serve(&near)?, serve(&far)?]
            .into_iter()
            .flatten()
            .collect();
        let to = service(&cluster, "web", 80, &[&near, &far])?;
        Ok(Self {
            servers,
            near,
            far,
            client,
            to,
            cluster,
        })
    }

    /// Waits until the client is answered in both families.
    pub fn await_answers(&self) -> Result<()> {
        self.to
            .iter()
            .try_for_each(|to| await_answer(&self.cluster, &self.client, *to))
    }
}

/// Objects by which only pods with `app: client` may reach those with `app: web`, on these ports in the policy's notation
/// (none: on all).
pub fn only_client(ports: &Value) -> [Value; 2] {
    let app = |name: &str| json!({ "matchLabels": { "app": name } });
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": "only-client", "namespace": "default" },
        "spec": {
            "podSelector": app("web"),
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": [{ "podSelector": app("client") }], "ports": ports }],
        },
    });
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" } });
    [policy, namespace]
}
