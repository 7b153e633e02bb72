//! Two nodes on one network, two pods on the first and one on the second, all of them servers, and somebody who listens.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use weir_tests::{
    datapath::drops,
    world::{Cluster, Node, Place, Pod, Server, Talk, ask_tcp, ask_udp, until},
};

use super::watch::{Seen, Watch};

/// Port of WireGuard.
pub(super) const WIREGUARD: u16 = 51871;
/// Port of the servers.
pub(super) const PORT: u16 = 8080;
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Of all pods.
pub(super) const RANGES: &str = "10.244.0.0/16,fd00:244::/32";

/// It.
pub(super) struct Bed {
    pub(super) watch: Watch,
    pub(super) near: Pod,
    pub(super) other: Pod,
    pub(super) far: Pod,
    _servers: Vec<Server>,
    pub(super) cluster: Cluster,
}

/// The flags of an agent that encrypts, and more.
pub(super) fn flags<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let common = [
        "--map-size",
        "small",
        "--cluster-cidr",
        RANGES,
        "--encryption",
        "wireguard",
    ];
    [&common, more].concat()
}

impl Bed {
    /// Nobody has told of keys yet.
    pub(super) fn start(name: &str, more: &[&str]) -> Self {
        let cluster = Cluster::start(name, &["a", "b"], &flags(more)).unwrap();
        let watch = Watch::on(cluster.world().outside());
        let near = cluster.pod(0, "near").unwrap();
        let other = cluster.pod(0, "other").unwrap();
        let far = cluster.pod(1, "far").unwrap();
        let servers = [&near, &far].into_iter().flat_map(serve).collect();
        Self {
            watch,
            near,
            other,
            far,
            _servers: servers,
            cluster,
        }
    }

    pub(super) fn node(&self) -> &Node {
        self.cluster.node(0)
    }

    /// What a node's status says of encryption.
    pub(super) fn status(&self, node: usize) -> Value {
        // An agent on an emulated machine may be too slow for proxyctl.
        let status: Value = until("the status", PATIENCE, || {
            let agent = self.cluster.agent(node);
            let (_, said) = agent.proxyctl_verdict(&["status", "-o", "json"])?;
            Ok(serde_json::from_str(&said).ok())
        })
        .unwrap();
        let told = if status["encryption"].is_object() {
            &status["encryption"]
        } else {
            &status["status"]["encryption"]
        };
        assert!(told.is_object(), "{status}");
        told.clone()
    }

    /// A node's key, once it has one other than this.
    pub(super) fn key(&self, node: usize, former: Option<&str>) -> String {
        let key = until("a key", PATIENCE, || {
            let status = self.status(node);
            let key = status["publicKey"].as_str().map(str::to_owned);
            Ok(key.filter(|key| Some(key.as_str()) != former))
        });
        key.unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()))
    }

    /// Has a node make itself another key, and gives it: it is not used before the Node shows it.
    pub(super) fn renew(&self, node: usize) -> String {
        let key = "/run/weir/wireguard.key";
        self.cluster.node(node).run(&["rm", key]).unwrap();
        self.next_key(node)
    }

    /// The key that a node is to publish.
    pub(super) fn next_key(&self, node: usize) -> String {
        let next = until("a next key", PATIENCE, || {
            Ok(self.status(node)["nextPublicKey"]
                .as_str()
                .map(str::to_owned))
        });
        next.unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()))
    }

    /// Tells all nodes the key of one, as its agent would tell the API server.
    pub(super) fn publish(&self, node: usize) -> String {
        let key = self.key(node, None);
        self.annotate(node, Some(&key));
        key
    }

    pub(super) fn annotate(&self, node: usize, key: Option<&str>) {
        let node = self.cluster.node(node);
        let addresses = node.addresses();
        let listed = addresses.iter();
        let listed: Vec<_> = listed
            .map(|ip| json!({ "type": "InternalIP", "address": ip }))
            .collect();
        let annotations = match key {
            Some(key) => json!({ "weir.dev/wireguard-public-key": key }),
            None => json!({}),
        };
        let object = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": node.name(), "annotations": annotations },
            "spec": { "podCIDRs": node.pod_ranges() },
            "status": { "addresses": listed },
        });
        self.cluster
            .manifests()
            .apply_objects(&format!("node-{}.yaml", node.name()), &[object])
            .unwrap();
    }

    /// Both, and waits until hands are shaken.
    pub(super) fn encrypt(&self) {
        for node in [0, 1] {
            self.publish(node);
        }
        self.await_peers();
    }

    /// Waits until each node has shaken hands with the other.
    pub(super) fn await_peers(&self) {
        for node in [0, 1] {
            until("hands to be shaken", PATIENCE, || {
                let status = self.status(node);
                let peer = &status["peers"][0];
                Ok(peer["handshakeSeconds"].is_u64().then_some(()))
            })
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()));
        }
    }

    /// Asks by TCP and UDP; somebody with this name answers.
    pub(super) fn asks(&self, place: &Place, to: SocketAddr, name: &str) {
        let failed = |error| panic!("{to}: {error}\n{}", self.said());
        let answer = ask_tcp(place, to).unwrap_or_else(failed);
        assert_eq!((answer.name.as_str(), answer.peer), (name, to));
        let answer = ask_udp(place, to, b"?").unwrap_or_else(failed);
        assert_eq!((answer.name.as_str(), answer.peer), (name, to));
    }

    /// A connection with bytes enough for full packets in both directions.
    pub(super) fn streams(&self, place: &Place, to: SocketAddr) {
        let streamed = Talk::open(place, to).and_then(|mut talk| talk.stream(1 << 19));
        streamed.unwrap_or_else(|error| panic!("{to}: {error}\n{}", self.said()));
    }

    /// Waits until TCP is answered.
    pub(super) fn await_answer(&self, place: &Place, to: SocketAddr) {
        until(&format!("an answer of {to}"), PATIENCE, || {
            Ok(ask_tcp(place, to).ok())
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()));
    }

    /// Since it was asked last, nothing went by in the clear, and something encrypted.
    pub(super) fn is_hidden(&self) {
        let Seen { encrypted, clear } = self.watch.take();
        assert_eq!(clear, [""; 0], "{}", self.said());
        assert!(encrypted > 0, "{}", self.said());
    }

    /// How often a node has dropped for a reason.
    pub(super) fn dropped(&self, node: usize, reason: &str) -> u64 {
        let drops = drops(self.cluster.node(node)).unwrap();
        drops.get(reason).copied().unwrap_or(0)
    }

    /// For a test that fails.
    pub(super) fn said(&self) -> String {
        let mut words = Vec::new();
        for index in [0, 1] {
            let (node, agent) = (self.cluster.node(index), self.cluster.agent(index));
            let log = agent.log();
            let last: Vec<&str> = log.lines().rev().take(12).collect();
            let links = node.run(&[
                "sh",
                "-c",
                "ip -s -d link show weir_wg; ip route; ip -6 route",
            ]);
            let peers = agent.proxyctl_verdict(&["dump", "tunnels"]);
            words.push(format!(
                "{}: dropped {:?}\n{links:?}\n{peers:?}\n{}\n{}\n",
                node.name(),
                drops(node),
                self.status(index),
                last.join("\n")
            ));
        }
        words.concat().replace("\\n", "\n")
    }
}

/// Serves at both addresses by TCP and UDP.
pub(super) fn serve(pod: &Pod) -> Vec<Server> {
    let at = pod.at(PORT).into_iter();
    at.flat_map(|at| {
        [
            Server::tcp(pod, at, pod.name()).unwrap(),
            Server::udp(pod, at, pod.name()).unwrap(),
        ]
    })
    .collect()
}
