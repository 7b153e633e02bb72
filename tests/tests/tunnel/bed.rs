//! Two nodes behind routers, two pods on the first and one on the second, all of them servers.

use std::{net::SocketAddr, time::Duration};

use weir_tests::{
    datapath::drops,
    world::{Cluster, Node, Place, Pod, Server, Talk, ask_tcp, ask_udp, until},
};

/// Flags of the agent.
pub(super) type Mode = &'static [&'static str];

/// Past the stack and through it, over both families.
pub(super) const MODES: [Mode; 4] = [
    &[],
    &["--tunnel-underlay", "ipv6"],
    &["--forwarding", "stack"],
    &["--forwarding", "stack", "--tunnel-underlay", "ipv6"],
];
/// Port of the servers.
pub(super) const PORT: u16 = 8080;
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// It.
pub(super) struct Bed {
    pub(super) near: Pod,
    pub(super) other: Pod,
    pub(super) far: Pod,
    _servers: Vec<Server>,
    pub(super) cluster: Cluster,
}

impl Bed {
    pub(super) fn start(name: &str, mode: Mode, flags: &[&str]) -> Self {
        let flags = [&["--map-size", "small"], mode, flags].concat();
        Self::on(Cluster::start_routed(name, &["a", "b"], &flags).unwrap())
    }

    /// Of nodes that are on one link.
    pub(super) fn on_a_link(name: &str, nodes: &[&str], mode: Mode) -> Self {
        let flags = [&["--map-size", "small"], mode].concat();
        Self::on(Cluster::start(name, nodes, &flags).unwrap())
    }

    pub(super) fn on(cluster: Cluster) -> Self {
        let near = cluster.pod(0, "near").unwrap();
        let other = cluster.pod(0, "other").unwrap();
        let far = cluster.pod(1, "far").unwrap();
        let servers = [&near, &far].into_iter().flat_map(serve).collect();
        Self {
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
        let streamed = Talk::open(place, to).and_then(|mut talk| talk.stream(1 << 20));
        streamed.unwrap_or_else(|error| panic!("{to}: {error}\n{}", self.said()));
    }

    /// Waits until TCP is answered.
    pub(super) fn await_answer(&self, place: &Place, to: SocketAddr) {
        until(&format!("an answer of {to}"), PATIENCE, || {
            Ok(ask_tcp(place, to).ok())
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()));
    }

    /// No router has seen a pod's address.
    pub(super) fn is_tight(&self) {
        let strangers = self.cluster.world().strangers().unwrap();
        assert_eq!(
            strangers,
            0,
            "packets with a pod's address\n{}",
            self.said()
        );
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
            let shell = "ip -s -d link show weir_vxlan; ip route; ip -6 route; nstat -az 2>/dev/null | grep -i frag";
            let links = node.run(&["sh", "-c", shell]);
            let peers = agent.proxyctl_verdict(&["dump", "tunnels"]);
            words.push(format!(
                "{}: dropped {:?}\n{links:?}\n{peers:?}\n{}\n",
                node.name(),
                drops(node),
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
