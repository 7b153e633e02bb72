//! Three nodes on one link, or two behind routers; a pod on the second serves, and the clients are outside.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde_json::{Value, json};
use weir_tests::{
    datapath::drops,
    world::{
        Cluster, Place, Pod, Server, Talk, ask_tcp, ask_udp,
        cluster::{POD_PORT, SERVICE_PORT},
        until,
    },
};

pub(super) const NODE_PORT: u16 = 30080;
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Load balancer's addresses.
pub(super) const VIPS: [&str; 2] = ["198.51.100.80", "2001:db8:51::80"];

/// It.
pub(super) struct Bed {
    pub(super) far: Pod,
    pub(super) servers: Vec<Server>,
    pub(super) cluster: Cluster,
    /// Where the clients' addresses end.
    pub(super) clients: [IpAddr; 2],
}

impl Bed {
    /// On one link, with these flags beside the mode.
    pub(super) fn on_link(name: &str, mode: &str, flags: &[&str]) -> Self {
        let flags = [
            &["--map-size", "small", "--load-balancer-mode", mode],
            flags,
        ]
        .concat();
        Self::on(Cluster::start(name, &["a", "b", "c"], &flags).unwrap())
    }

    /// Behind routers.
    pub(super) fn routed(name: &str, mode: &str, flags: &[&str]) -> Self {
        let flags = [
            &["--map-size", "small", "--load-balancer-mode", mode],
            flags,
        ]
        .concat();
        Self::on(Cluster::start_routed(name, &["a", "b"], &flags).unwrap())
    }

    fn on(cluster: Cluster) -> Self {
        let far = cluster.pod(1, "far").unwrap();
        let at = far.at(POD_PORT).into_iter();
        let servers = at
            .flat_map(|at| {
                [
                    Server::tcp(&far, at, "far").unwrap(),
                    Server::udp(&far, at, "far").unwrap(),
                ]
            })
            .collect();
        let clients = ["172.30.0.1", "fd30::1"].map(|ip| ip.parse().unwrap());
        Self {
            far,
            servers,
            cluster,
            clients,
        }
    }

    /// A Service with a node port and load balancer's addresses, which the pod serves; its annotations.
    pub(super) fn service(&self, annotations: &Value) {
        let port = |name: &str, protocol: &str| json!({ "name": name, "protocol": protocol, "port": SERVICE_PORT, "targetPort": POD_PORT, "nodePort": NODE_PORT });
        let spec = json!({
            "type": "LoadBalancer",
            "ports": [port("tcp", "TCP"), port("udp", "UDP")],
            "annotations": annotations,
            "status": { "loadBalancer": { "ingress": VIPS.map(|ip| json!({ "ip": ip })) } },
        });
        self.cluster
            .service("far", 80, &[&self.far], &spec)
            .unwrap();
    }

    /// Leads the load balancer's addresses to a node.
    pub(super) fn lead_to(&self, node: usize) {
        let node = self.cluster.node(node);
        for (ip, by) in VIPS.into_iter().zip(node.addresses()) {
            let words = ["ip", "route", "replace", ip, "via", &by.to_string()];
            self.outside().run(&words).unwrap();
        }
    }

    /// By the node port of a node.
    pub(super) fn node_ports(&self, node: usize) -> [SocketAddr; 2] {
        let ips = self.cluster.node(node).addresses();
        ips.map(|ip| SocketAddr::new(ip, NODE_PORT))
    }

    pub(super) fn outside(&self) -> &Place {
        self.cluster.world().outside()
    }

    /// Asks from outside by TCP, UDP, and a stream of full packets both ways.
    pub(super) fn serves(&self, to: SocketAddr) {
        self.await_answer(to);
        let failed = |error| panic!("{to}: {error}\n{}", self.said());
        for _ in 0..8 {
            let answer = ask_tcp(self.outside(), to).unwrap_or_else(failed);
            assert_eq!((answer.name.as_str(), answer.peer), ("far", to));
            let answer = ask_udp(self.outside(), to, b"?").unwrap_or_else(failed);
            assert_eq!((answer.name.as_str(), answer.peer), ("far", to));
        }
        let streamed = Talk::open(self.outside(), to).and_then(|mut talk| talk.stream(1 << 20));
        streamed.unwrap_or_else(|error| panic!("{to}: {error}\n{}", self.said()));
    }

    /// Waits until TCP is answered.
    pub(super) fn await_answer(&self, to: SocketAddr) {
        until(&format!("an answer of {to}"), PATIENCE, || {
            Ok(ask_tcp(self.outside(), to).ok())
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()));
    }

    /// Whom the servers saw, by protocol: TCP's, UDP's.
    pub(super) fn seen(&self) -> [Vec<IpAddr>; 2] {
        [0, 1].map(|kind| {
            let of_kind = self.servers.iter().skip(kind).step_by(2);
            let mut seen: Vec<IpAddr> = of_kind
                .flat_map(Server::peers)
                .map(|peer| peer.ip())
                .collect();
            seen.sort_unstable();
            seen.dedup();
            seen
        })
    }

    /// How often a node has dropped for a reason.
    pub(super) fn dropped(&self, node: usize, reason: &str) -> u64 {
        let drops = drops(self.cluster.node(node)).unwrap();
        drops.get(reason).copied().unwrap_or(0)
    }

    /// Flows of a node, as `proxyctl` has them.
    pub(super) fn flows(&self, node: usize) -> String {
        let agent = self.cluster.agent(node);
        agent
            .proxyctl(&["dump", "conntrack", "-o", "wide"])
            .unwrap()
    }

    /// For a test that fails.
    pub(super) fn said(&self) -> String {
        let nodes = [0, 1].into_iter().map(|index| {
            let agent = self.cluster.agent(index);
            let node = self.cluster.node(index);
            let dump = |what| agent.proxyctl_verdict(&["dump", what, "-o", "wide"]);
            let log = agent.log();
            let last: Vec<&str> = log.lines().rev().take(8).collect();
            format!(
                "{}: dropped {:?}\n{:?}\n{:?}\n{:?}\n{}\n",
                node.name(),
                drops(node),
                dump("conntrack"),
                dump("services"),
                dump("tunnels"),
                last.join("\n"),
            )
        });
        nodes.collect::<String>().replace("\\n", "\n")
    }
}

/// The load balancer's addresses, with the Service's port.
pub(super) fn vips() -> [SocketAddr; 2] {
    VIPS.map(|ip| SocketAddr::new(ip.parse().unwrap(), SERVICE_PORT))
}
