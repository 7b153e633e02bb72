//! Pods reach each other, Services and nodes as by veth, and no further.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use weir_tests::{
    devices::best,
    in_every_mode,
    modes::Mode,
    served::serve,
    world::{
        Server, ask_tcp,
        cluster::{POD_PORT, SERVICE_PORT},
    },
};

use super::bed::{Bed, recorded};

in_every_mode![is_reached];

const NODE_PORT: u16 = 30080;
const HOST_PORT: u16 = 8000;

fn is_reached(mode: Mode) {
    let mut bed = Bed::start(mode);
    bed.shown();
    bed.pods_and_nodes();
    bed.services();
    bed.policy();
    bed.forged();
    bed.room();
    bed.host_port();
    bed.limited();
    // What is attached stays, and is found again.
    let agent = bed.cluster.agent_mut(0);
    agent.crash().unwrap();
    for to in [bed.near.at(POD_PORT), bed.far.at(POD_PORT)].concat() {
        ask_tcp(&bed.other, to).unwrap();
    }
    bed.cluster.agent_mut(0).restart().unwrap();
    bed.pods_and_nodes();
    bed.policy();
    bed.forged();
}

impl Bed {
    fn shown(&self) {
        let agent = self.cluster.agent(0);
        let (_, status) = agent.proxyctl_verdict(&["status"]).unwrap();
        let words = format!("new pods {}", best());
        assert!(status.contains(&words), "{status}");
        let device = || best().name().to_owned();
        let expected = ["default/near", "default/other"].map(|pod| (pod.to_owned(), device()));
        assert_eq!(recorded(&self.cluster, 0), expected);
    }

    fn pods_and_nodes(&self) {
        let node = self.cluster.node(0);
        for family in [0, 1] {
            let [near, far] = [&self.near, &self.far].map(|pod| pod.at(POD_PORT)[family]);
            for from in [&*self.other, &*self.far, &**node, &*self.near] {
                self.asks(from, near, "near");
                self.asks(from, far, "far");
            }
            let at = SocketAddr::new(node.addresses()[family], POD_PORT);
            let servers = [
                Server::tcp(node, at, "node").unwrap(),
                Server::udp(node, at, "node").unwrap(),
            ];
            for from in [&self.near, &self.far] {
                self.asks(from, at, "node");
            }
            let pods = [&self.near, &self.far].map(|pod| pod.addresses()[family]);
            for server in servers {
                let peers = server.peers();
                assert!(
                    peers.iter().all(|peer| pods.contains(&peer.ip())),
                    "{peers:?}"
                );
            }
        }
    }

    fn services(&self) {
        let port = |name: &str, protocol: &str| json!({ "name": name, "protocol": protocol, "port": SERVICE_PORT, "targetPort": POD_PORT, "nodePort": NODE_PORT });
        let ports =
            json!({ "type": "NodePort", "ports": [port("tcp", "TCP"), port("udp", "UDP")] });
        let outside = self.cluster.world().outside();
        for (number, pod) in (80..).zip([&self.near, &self.far]) {
            let service = self.cluster.service("web", number, &[pod], &ports);
            for ip in service.unwrap() {
                let to = SocketAddr::new(ip, SERVICE_PORT);
                // Of a pod to itself too.
                for from in [&*self.other, &*self.near, &**self.cluster.node(0)] {
                    self.asks(from, to, pod.name());
                }
            }
            for ip in self.cluster.node(0).addresses() {
                let to = SocketAddr::new(ip, NODE_PORT);
                self.asks(outside, to, pod.name());
                self.asks(&self.other, to, pod.name());
            }
        }
    }

    fn policy(&self) {
        let from = json!([{ "podSelector": { "matchLabels": { "app": "far" } } }]);
        let policy = |name: &str, spec: Value| {
            json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": { "name": name, "namespace": "default" },
                "spec": spec,
            })
        };
        let app = |name: &str| json!({ "matchLabels": { "app": name } });
        let policies = [
            policy(
                "to-near",
                json!({ "podSelector": app("near"), "policyTypes": ["Ingress"], "ingress": [{ "from": from }] }),
            ),
            policy(
                "from-other",
                json!({ "podSelector": app("other"), "policyTypes": ["Egress"], "egress": [] }),
            ),
        ];
        let manifests = self.cluster.manifests();
        manifests.apply_objects("policy.yaml", &policies).unwrap();
        let denied = |to: SocketAddr| ask_tcp(&self.other, to).is_err();
        for to in [self.near.at(POD_PORT), self.far.at(POD_PORT)].concat() {
            self.eventually("the other to be denied", || denied(to));
        }
        for to in self.near.at(POD_PORT) {
            self.asks(&self.far, to, "near");
        }
        assert!(self.dropped(0, "policy-egress") > 0);
        manifests.remove("policy.yaml").unwrap();
        for to in [self.near.at(POD_PORT), self.far.at(POD_PORT)].concat() {
            self.eventually("the other to be let through", || !denied(to));
        }
    }

    /// A pod that speaks for somebody else.
    fn forged(&self) {
        let forged = [
            self.near.addresses(),
            self.cluster.node(0).addresses(),
            ["192.0.2.9", "2001:db8::9"].map(|ip| ip.parse().unwrap()),
        ];
        let mut lies = self.dropped(0, "spoofed-source");
        for sources in forged {
            for (family, source) in sources.into_iter().enumerate() {
                self.lie("add", source);
                let socket = self.other.udp(SocketAddr::new(source, 0)).unwrap();
                // What it has taken itself it does not send to.
                let targets = [&self.near, &self.far].map(|pod| pod.at(POD_PORT)[family]);
                for to in targets.into_iter().filter(|to| to.ip() != source) {
                    socket.send_to(b"it was not me", to).unwrap();
                    lies += 1;
                    self.eventually(&format!("{source} to {to} to be dropped"), || {
                        self.dropped(0, "spoofed-source") == lies
                    });
                }
                self.lie("del", source);
            }
        }
        let outsiders: IpAddr = "192.0.2.9".parse().unwrap();
        let peers = self.servers.iter().flat_map(Server::peers);
        assert!(peers.map(|peer| peer.ip()).all(|ip| ip != outsiders));
    }

    fn lie(&self, verb: &str, source: IpAddr) {
        let (prefix, nodad) = match source {
            IpAddr::V4(_) => (32, ""),
            IpAddr::V6(_) => (128, "nodad"),
        };
        let nodad = if verb == "add" { nodad } else { "" };
        self.other
            .batch(&format!("addr {verb} {source}/{prefix} dev eth0 {nodad}\n"))
            .unwrap();
    }

    /// Pods have room for what fits the way to other nodes, and no more.
    fn room(&self) {
        let mtu = |place: &weir_tests::world::Place| {
            let read = place.run(&["cat", "/sys/class/net/eth0/mtu"]).unwrap();
            read.trim().parse::<usize>().unwrap()
        };
        // The network namespace's own /sys is not mounted in a pod: its netlink says it.
        let link = self.near.run(&["ip", "link", "show", "eth0"]).unwrap();
        let uplink = mtu(self.cluster.node(0));
        assert!(link.contains(&format!(" mtu {uplink} ")), "{link}");
        for (ip, headers) in self.far.addresses().into_iter().zip([28, 48]) {
            let full = vec![b'x'; uplink - headers];
            let to = SocketAddr::new(ip, POD_PORT);
            let answer = weir_tests::world::ask_udp(&self.near, to, &full).unwrap();
            assert_eq!(answer.name, "far");
        }
    }

    /// A limit at the pod's side of the host and one in front of its queue, and both let packets pass.
    fn limited(&self) {
        let both = json!({
            "kubernetes.io/ingress-bandwidth": "10M",
            "kubernetes.io/egress-bandwidth": "10M",
        });
        let limits = json!({ "IngressRate": 10_000_000, "EgressRate": 10_000_000 });
        let slow = self.cluster.annotated_pod(0, "slow", &both, &limits);
        let slow = slow.unwrap();
        let _servers = serve(&slow).unwrap();
        let queues = self.cluster.node(0).run(&["tc", "qdisc", "show"]).unwrap();
        assert_eq!(
            queues.matches(" 5765: ").count() + queues.matches(" 5766: ").count(),
            2,
            "{queues}"
        );
        for to in slow.at(POD_PORT) {
            self.asks(&self.other, to, "slow");
        }
        for to in self.far.at(POD_PORT) {
            self.asks(&slow, to, "far");
        }
    }

    fn host_port(&self) {
        let both = json!([
            { "HostPort": HOST_PORT, "ContainerPort": POD_PORT, "Protocol": "tcp", "HostIP": "" },
            { "HostPort": HOST_PORT, "ContainerPort": POD_PORT, "Protocol": "udp", "HostIP": "" },
        ]);
        let web = self.cluster.pod_with_ports(0, "web", &both).unwrap();
        let _servers = serve(&web).unwrap();
        let outside = self.cluster.world().outside();
        for ip in self.cluster.node(0).addresses() {
            let to = SocketAddr::new(ip, HOST_PORT);
            for from in [outside, &*self.near, &*self.far] {
                self.asks(from, to, "web");
            }
        }
    }
}
