//! Services whose backends are behind the tunnel, and policy on both sides of it.

use std::net::SocketAddr;

use serde_json::json;
use weir_tests::world::{Place, Server, ask_tcp, ask_udp, cluster::SERVICE_PORT};

use super::bed::{Bed, MODES, PORT};

const NODE_PORT: u16 = 30080;

fn node_ports() -> serde_json::Value {
    let port = |name: &str, protocol: &str| json!({ "name": name, "protocol": protocol, "port": SERVICE_PORT, "targetPort": PORT, "nodePort": NODE_PORT });
    json!({ "type": "NodePort", "ports": [port("tcp", "TCP"), port("udp", "UDP")] })
}

impl Bed {
    fn serves(&self, place: &Place, to: SocketAddr) {
        self.await_answer(place, to);
        self.asks(place, to, "far");
        self.streams(place, to);
    }
}

#[test]
fn a_service_has_its_backend_on_another_node() {
    for mode in MODES {
        let bed = Bed::start("service", mode, &[]);
        let service = bed.cluster.service("far", 80, &[&bed.far], &node_ports());
        let outsider = bed.node().outsider().unwrap();
        for ip in service.unwrap() {
            let to = SocketAddr::new(ip, SERVICE_PORT);
            bed.serves(&bed.near, to);
            bed.serves(bed.node(), to);
            bed.serves(&outsider, to);
        }
        for ip in bed.node().addresses() {
            let to = SocketAddr::new(ip, NODE_PORT);
            bed.serves(bed.cluster.world().outside(), to);
            bed.serves(&bed.other, to);
            // From the other node, and from a pod there.
            bed.serves(bed.cluster.node(1), to);
            bed.serves(&bed.far, to);
        }
        bed.is_tight();
    }
}

/// A backend with the host's network: the way there is that of the pod that asks.
#[test]
fn a_service_has_its_backend_in_the_hosts_network() {
    for mode in MODES {
        let bed = Bed::start("hostnet", mode, &[]);
        let node = bed.cluster.node(1);
        let at = node.addresses().map(|ip| SocketAddr::new(ip, PORT));
        let _servers: Vec<Server> = at
            .into_iter()
            .flat_map(|at| {
                [
                    Server::tcp(node, at, "far").unwrap(),
                    Server::udp(node, at, "far").unwrap(),
                ]
            })
            .collect();
        let service = bed.cluster.service("host", 81, &[], &node_ports());
        bed.cluster
            .endpoints_at("host", &[(node.addresses(), node.name())])
            .unwrap();
        for ip in service.unwrap() {
            let to = SocketAddr::new(ip, SERVICE_PORT);
            bed.serves(&bed.near, to);
            bed.serves(&bed.far, to);
            bed.serves(bed.node(), to);
        }
        for to in bed
            .cluster
            .node(0)
            .addresses()
            .into_iter()
            .chain(node.addresses())
        {
            let to = SocketAddr::new(to, NODE_PORT);
            bed.serves(bed.cluster.world().outside(), to);
            bed.serves(&bed.other, to);
        }
        bed.is_tight();
    }
}

/// Who asks is known on the other side.
#[test]
fn policy_denies_across_the_tunnel() {
    for mode in MODES {
        let bed = Bed::start("policy", mode, &[]);
        let policy = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": { "name": "near-only", "namespace": "default" },
            "spec": {
                "podSelector": { "matchLabels": { "app": "far" } },
                "policyTypes": ["Ingress"],
                "ingress": [{ "from": [{ "podSelector": { "matchLabels": { "app": "near" } } }] }],
            },
        });
        bed.cluster
            .manifests()
            .apply_objects("policy.yaml", &[policy])
            .unwrap();
        for to in bed.far.at(PORT) {
            bed.cluster
                .eventually("a denial", || {
                    ask_tcp(&bed.other, to).is_err().then_some(())
                })
                .unwrap();
            ask_udp(&bed.other, to, b"?").unwrap_err();
            bed.asks(&bed.near, to, "far");
        }
        assert!(bed.dropped(1, "policy-ingress") > 0, "{}", bed.said());
        bed.is_tight();
    }
}
