//! A Service on every kind of address, and who asks for it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use serde_json::{Value, json};
use weir_tests::{
    datapath::drops,
    served::serve,
    world::{
        Cluster, Node, Place, Pod, Server, ask_tcp, ask_udp, ask_udp_connected,
        cluster::{POD_PORT, SERVICE_PORT, SYNC_LIMIT},
        slowness, until,
    },
};

pub(super) const NODE_PORT: u16 = 30080;
pub(super) const HOST_PORT: u16 = 8000;
/// Addresses of a load balancer that no machine has.
pub(super) const BALANCER: [&str; 2] = ["203.0.113.10", "2001:db8::10"];
/// Every address of the node serves.
pub(super) const ALL: [&str; 2] = ["--nodeport-addresses", "0.0.0.0/0,::/0"];
/// Asked so often, both backends have answered.
const ASKED: u32 = 24;
/// Asked so often, somebody else would have answered.
const AT_LEAST: u32 = 6;

/// Two nodes; a pod on each behind one Service, and one with a `hostPort` on the first.
pub(super) struct Lab {
    pub(super) near: Pod,
    _far: Pod,
    _web: Pod,
    _servers: Vec<Server>,
    pub(super) cluster: Cluster,
}

impl Lab {
    pub(super) fn start(name: &str, flags: &[&str]) -> Self {
        let flags = [&["--map-size", "small"], &ALL[..], flags].concat();
        let cluster = Cluster::start(name, &["a", "b"], &flags).unwrap();
        let (near, far) = (
            cluster.pod(0, "near").unwrap(),
            cluster.pod(1, "far").unwrap(),
        );
        let port = |protocol| json!({ "HostPort": HOST_PORT, "ContainerPort": POD_PORT, "Protocol": protocol, "HostIP": "" });
        let ports = json!([port("tcp"), port("udp")]);
        let web = cluster.pod_with_ports(0, "web", &ports).unwrap();
        let pods = [&near, &far, &web];
        let servers = pods.iter().flat_map(|pod| serve(pod).unwrap()).collect();
        let behind = [&near, &far];
        cluster
            .service("web", 80, &behind, &load_balancer())
            .unwrap();
        Self {
            near,
            _far: far,
            _web: web,
            _servers: servers,
            cluster,
        }
    }

    pub(super) fn node(&self) -> &Node {
        self.cluster.node(0)
    }

    /// All that the first node serves is served to a place that asks it by these addresses of it, and is led to the
    /// load balancer by them.
    pub(super) fn serves(&self, place: &Place, by: [IpAddr; 2]) {
        for (to, via) in BALANCER.iter().zip(by) {
            lead(place, to, via);
        }
        self.serves_at(place, by);
    }

    /// As [`Self::serves`], where the way to the load balancer is known.
    pub(super) fn serves_at(&self, place: &Place, by: [IpAddr; 2]) {
        let node_port = by.map(|ip| SocketAddr::new(ip, NODE_PORT));
        let host_port = by.map(|ip| SocketAddr::new(ip, HOST_PORT));
        let balancer = BALANCER.map(|ip| SocketAddr::new(ip.parse().unwrap(), SERVICE_PORT));
        for to in host_port {
            self.answers(place, to, &["web"]);
        }
        for to in node_port.into_iter().chain(balancer) {
            self.answers(place, to, &["far", "near"]);
        }
    }

    /// Asked often enough by TCP and UDP, exactly these have answered, each for the address that was asked; how often it was asked.
    pub(super) fn answers(&self, place: &Place, to: SocketAddr, names: &[&str]) -> u64 {
        let names: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
        let what = format!("an answer of {to} by TCP and UDP");
        until(&what, SYNC_LIMIT, || {
            let answer = ask_tcp(place, to).and_then(|_| ask_udp(place, to, b"?"));
            Ok(Some(answer?))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()));
        let mut asked = 0;
        for (how, ask) in WAYS {
            let mut answered = BTreeSet::new();
            for round in 0..ASKED {
                if round >= AT_LEAST / slowness() && answered == names {
                    break;
                }
                asked += 1;
                let (name, peer) =
                    ask(place, to).unwrap_or_else(|e| panic!("{how} {to}: {e}\n{}", self.said()));
                assert_eq!(peer, to, "{how}");
                answered.insert(name);
            }
            assert_eq!(answered, names, "{how} {to}");
        }
        asked
    }

    /// Waits until TCP is answered.
    pub(super) fn await_tcp(place: &Place, to: SocketAddr) {
        let answered = || Ok(Some(ask_tcp(place, to)?));
        until(&format!("an answer of {to}"), SYNC_LIMIT, answered).unwrap();
    }

    /// For a test that fails: what the first node's agent tells, and what its programs dropped.
    fn said(&self) -> String {
        let drops = drops(self.node());
        let log = self.cluster.agent(0).log();
        let last: Vec<&str> = log.lines().rev().take(12).collect();
        format!("dropped: {drops:?}\n{}", last.join("\n"))
    }

    /// Waits until `proxyctl status` says something.
    pub(super) fn says(&self, words: &str) {
        let agent = self.cluster.agent(0);
        let said = || {
            let (_, text) = agent.proxyctl_verdict(&["status"]).unwrap();
            text.contains(words).then_some(())
        };
        self.cluster.eventually(words, said).unwrap();
    }
}

/// Of a Service with a `NodePort` and a load balancer's addresses.
pub(super) fn load_balancer() -> Value {
    let port = |name: &str, protocol: &str| json!({ "name": name, "protocol": protocol, "port": SERVICE_PORT, "targetPort": POD_PORT, "nodePort": NODE_PORT });
    json!({
        "type": "LoadBalancer",
        "ports": [port("tcp", "TCP"), port("udp", "UDP")],
        "status": { "loadBalancer": { "ingress": BALANCER.map(|ip| json!({ "ip": ip })) } },
    })
}

/// Leads to an address by one of a node.
pub(super) fn lead(place: &Place, to: &str, via: IpAddr) {
    let family = if via.is_ipv4() { "-4" } else { "-6" };
    let via = via.to_string();
    let route = ["ip", family, "route", "replace", to, "via", &via];
    place.run(&route).unwrap();
}

type Ask = fn(&Place, SocketAddr) -> std::io::Result<(String, SocketAddr)>;

const WAYS: [(&str, Ask); 3] = [
    ("TCP", |place, to| {
        ask_tcp(place, to).map(|answer| (answer.name, answer.peer))
    }),
    ("UDP", |place, to| {
        ask_udp(place, to, b"?").map(|answer| (answer.name, answer.peer))
    }),
    ("UDP, connected", |place, to| {
        ask_udp_connected(place, to, b"?").map(|answer| (answer.name, answer.peer))
    }),
];
