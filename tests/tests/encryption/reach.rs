//! Pods, nodes and Services reach each other as without encryption, and nobody else learns what they say.

use std::net::{IpAddr, SocketAddr};

use serde_json::json;
use weir_tests::world::{Server, ask_tcp, cluster::SERVICE_PORT, until};

use super::{
    bed::{Bed, PATIENCE, PORT},
    unable::is_able,
};

const NODE_PORT: u16 = 30080;
/// Past the stack, and through it over the other family.
const MODES: [&[&str]; 2] = [
    &[],
    &["--forwarding", "stack", "--encryption-underlay", "ipv6"],
];

fn node_ports() -> serde_json::Value {
    let port = |name: &str, protocol: &str| json!({ "name": name, "protocol": protocol, "port": SERVICE_PORT, "targetPort": PORT, "nodePort": NODE_PORT });
    json!({ "type": "NodePort", "ports": [port("tcp", "TCP"), port("udp", "UDP")] })
}

fn is_reached(mode: &[&str]) {
    if !is_able(mode) {
        return;
    }
    let bed = Bed::start("reach", mode);
    // Before keys are known the way is what it would be.
    for to in bed.far.at(PORT) {
        bed.await_answer(&bed.near, to);
    }
    assert!(!bed.watch.take().clear.is_empty());
    bed.encrypt();
    let outside = bed.cluster.world().outside();
    bed.watch.take();
    bed.pods_and_nodes();
    bed.is_hidden();
    bed.services();
    // What comes from outside to a NodePort is not between nodes; but what is made of it is.
    bed.watch.take();
    for ip in bed.node().addresses() {
        let to = SocketAddr::new(ip, NODE_PORT);
        bed.await_answer(outside, to);
        bed.asks(outside, to, "far");
        bed.streams(outside, to);
    }
    bed.is_hidden();
    bed.policy();
    bed.is_hidden();
    bed.forged();
    bed.room(mode);
    bed.shown();
}

impl Bed {
    fn pods_and_nodes(&self) {
        for (family, to) in self.far.at(PORT).into_iter().enumerate() {
            self.await_answer(&self.near, to);
            self.asks(&self.near, to, "far");
            self.streams(&self.near, to);
            self.asks(&self.far, self.near.at(PORT)[family], "near");
            self.streams(&self.far, self.near.at(PORT)[family]);
            // The node's own processes, and pods that ask nodes: seen as who they are.
            let node = self.node();
            self.asks(node, to, "far");
            self.streams(node, to);
            let at = SocketAddr::new(node.addresses()[family], PORT);
            let servers = [
                Server::tcp(node, at, "node").unwrap(),
                Server::udp(node, at, "node").unwrap(),
            ];
            self.asks(&self.far, at, "node");
            self.streams(&self.far, at);
            let pod = self.far.addresses()[family];
            for server in servers {
                assert!(server.peers().iter().all(|peer| peer.ip() == pod));
            }
        }
    }

    fn services(&self) {
        let service = self.cluster.service("far", 80, &[&self.far], &node_ports());
        for ip in service.unwrap() {
            let to = SocketAddr::new(ip, SERVICE_PORT);
            self.await_answer(&self.near, to);
            self.asks(&self.near, to, "far");
            self.streams(&self.near, to);
            self.await_answer(self.node(), to);
            self.asks(self.node(), to, "far");
        }
        self.is_hidden();
    }

    /// What is denied stays denied, by who sends it.
    fn policy(&self) {
        let from = |app: &str| json!([{ "podSelector": { "matchLabels": { "app": app } } }]);
        let policy = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": { "name": "far", "namespace": "default" },
            "spec": {
                "podSelector": { "matchLabels": { "app": "far" } },
                "policyTypes": ["Ingress"],
                "ingress": [{ "from": from("near") }],
            },
        });
        let manifests = self.cluster.manifests();
        manifests.apply_objects("policy.yaml", &[policy]).unwrap();
        for to in self.far.at(PORT) {
            until("the other to be denied", PATIENCE, || {
                Ok(ask_tcp(&self.other, to).is_err().then_some(()))
            })
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()));
            self.asks(&self.near, to, "far");
        }
        assert!(self.dropped(1, "policy-ingress") > 0);
        manifests.remove("policy.yaml").unwrap();
        for to in self.far.at(PORT) {
            self.await_answer(&self.other, to);
        }
    }

    /// A node that speaks for somebody whom it does not have: another node's pod, a pod of the receiver, anybody.
    fn forged(&self) {
        let to = SocketAddr::new(self.far.addresses()[0], PORT + 1);
        let socket = self.far.udp(to).unwrap();
        socket.set_nonblocking(true).unwrap();
        let received = || {
            let mut room = [0; 64];
            std::iter::from_fn(|| socket.recv(&mut room).ok()).count()
        };
        let node = self.node();
        let errors = || -> u64 {
            let file = "/sys/class/net/weir_wg/statistics/rx_frame_errors";
            let read = self.cluster.node(1).run(&["cat", file]).unwrap();
            read.trim().parse().unwrap()
        };
        let before = errors();
        let forged = ["10.244.9.9", "10.244.2.200", "198.51.100.1"];
        for from in forged {
            node.batch(&format!("addr add {from}/32 dev lo\n")).unwrap();
            let from: IpAddr = from.parse().unwrap();
            let sender = node.udp(SocketAddr::new(from, 4000)).unwrap();
            sender.send_to(b"!", to).unwrap();
        }
        until("forged packets to be dropped", PATIENCE, || {
            Ok((errors() >= before + forged.len() as u64).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()));
        assert_eq!(received(), 0);
        for from in forged {
            node.batch(&format!("addr del {from}/32 dev lo\n")).unwrap();
        }
        // As itself it may.
        let sender = node.udp(SocketAddr::new(node.addresses()[0], 4000));
        sender.unwrap().send_to(b"!", to).unwrap();
        until("a packet of a peer", PATIENCE, || {
            Ok((received() == 1).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()));
    }

    /// Devices and pods have room for what fits the uplink, whatever that is.
    fn room(&self, mode: &[&str]) {
        let around = if mode.contains(&"ipv6") { 80 } else { 60 };
        for uplink in [1500, 1400] {
            for node in [0, 1] {
                let node = self.cluster.node(node);
                let set = format!("link set eth0 mtu {uplink}\n");
                node.batch(&set).unwrap();
                let expected = format!("{}\n", uplink - around);
                until("the MTU of weir_wg", PATIENCE, || {
                    let mtu = node.run(&["cat", "/sys/class/net/weir_wg/mtu"])?;
                    Ok((mtu == expected).then_some(()))
                })
                .unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()));
            }
            let pod = self.cluster.pod(0, &format!("room{uplink}")).unwrap();
            let link = pod.run(&["ip", "link", "show", "dev", "eth0"]).unwrap();
            let mtu = format!(" mtu {} ", uplink - around);
            assert!(link.contains(&mtu), "{link}");
            for to in self.far.at(PORT) {
                // Who begins with what there is, and who began with more.
                self.streams(&pod, to);
                self.streams(&self.near, to);
            }
        }
        self.is_hidden();
    }

    fn shown(&self) {
        let agent = self.cluster.agent(0);
        let status = agent.proxyctl_verdict(&["status"]).unwrap().1;
        for words in ["encrypted 2", "wireguard", "peers 1", "b handshake "] {
            assert!(status.contains(words), "{words}: {status}");
        }
        let told = self.status(0);
        assert!(told["peers"][0]["receivedBytes"].as_u64().unwrap() > 1 << 20);
        let dumped = agent.proxyctl(&["dump", "tunnels"]).unwrap();
        assert!(dumped.contains("encrypted"), "{dumped}");
        let key = self
            .node()
            .run(&["stat", "-c", "%a", "/run/weir/wireguard.key"]);
        assert_eq!(key.unwrap().trim(), "600");
    }
}

#[test]
fn everybody_is_reached_past_the_stack() {
    is_reached(MODES[0]);
}

#[test]
fn everybody_is_reached_through_the_stack() {
    is_reached(MODES[1]);
}
