//! Two nodes that clients from outside enter by: whichever it is, a flow has the same backend, while endpoints come and go and
//! agents start anew.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    ops::Range,
    time::Duration,
};

use proxy_agent::datapath::Table as _;
use proxy_common::frontends::{FLAG_CLUSTER_IP, Frontend};
use serde_json::{Value, json};
use weir_tests::{
    datapath::reader,
    in_every_mode,
    modes::Mode,
    served::serve,
    world::{Cluster, Pod, Server, ask_tcp, cluster::SERVICE_PORT},
};

in_every_mode![
    a_flow_has_one_backend_by_whichever_node_it_enters,
    with_affinity_a_client_has_one_backend_by_whichever_node_it_enters,
];

const NODE_PORT: u16 = 30080;
const BALANCED: [&str; 2] = ["203.0.113.80", "2001:db8::80"];
const SIZE: u32 = 16_381;
/// Flows of a round.
const FLOWS: u16 = 24;

struct Bed {
    pods: Vec<Pod>,
    _servers: Vec<Server>,
    cluster: Cluster,
    /// The first client port that was not used.
    next: u16,
}

impl Bed {
    fn start(name: &str, mode: Mode, spec: &Value) -> Self {
        let cluster = Cluster::start(name, &["a", "b"], mode).unwrap();
        let pods = (0..6).map(|n| cluster.pod(n % 2, &format!("web{n}")).unwrap());
        let pods: Vec<Pod> = pods.collect();
        let servers = pods.iter().flat_map(|pod| serve(pod).unwrap());
        let bed = Self {
            _servers: servers.collect(),
            pods,
            cluster,
            next: 20_000,
        };
        let all: Vec<&Pod> = bed.pods.iter().collect();
        bed.cluster.service("web", 80, &all, spec).unwrap();
        bed.await_tables(6);
        bed
    }

    /// Waits until both nodes lead what comes from outside to tables of so many backends.
    fn await_tables(&self, backends: u32) {
        let led =
            |frontend: &Frontend| frontend.maglev == SIZE && frontend.external.count == backends;
        let ready = |node: usize| {
            let reader = reader(self.cluster.node(node)).ok()?;
            let maps = reader.maps();
            let v4 = maps.frontends4.entries().ok()?.into_iter().map(|(_, f)| f);
            let v6 = maps.frontends6.entries().ok()?.into_iter().map(|(_, f)| f);
            let mut outside = v4.chain(v6).filter(|f| f.flags & FLAG_CLUSTER_IP == 0);
            let first = outside.next()?;
            let all = led(&first) && outside.all(|f| led(&f));
            // Each of them has places.
            let dump = self
                .cluster
                .agent(node)
                .proxyctl(&["dump", "maglev"])
                .ok()?;
            let shares = dump.lines().filter(|line| line.contains("default/web:tcp"));
            (all && shares.count() == 2 * backends as usize).then_some(())
        };
        for node in 0..2 {
            let what = format!("tables of {backends} backends on node {node}");
            self.cluster.eventually(&what, || ready(node)).unwrap();
        }
    }

    /// Client ports that nobody has used.
    fn ports(&mut self) -> Range<u16> {
        let first = self.next;
        self.next += FLOWS;
        first..self.next
    }

    /// Who answers a datagram from a port of the outside.
    fn ask(&self, port: u16, to: SocketAddr) -> String {
        let any: IpAddr = if to.is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap();
        let outside = self.cluster.world().outside();
        let socket = outside.udp(SocketAddr::new(any, port)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let answered = self.cluster.eventually(&format!("answer of {to}"), || {
            socket.send_to(b"?", to).ok()?;
            let mut buffer = [0; 256];
            let (length, _) = socket.recv_from(&mut buffer).ok()?;
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            text.lines().next().map(str::to_owned)
        });
        answered.unwrap()
    }

    /// Who answers flows of new ports at the `NodePort` of the nodes; it is the same on both.
    fn round(&mut self, family: usize) -> BTreeMap<u16, String> {
        let at =
            |node: usize| SocketAddr::new(self.cluster.node(node).addresses()[family], NODE_PORT);
        let to = [at(0), at(1)];
        let ports = self.ports();
        let answered = |node: usize| -> BTreeMap<u16, String> {
            ports
                .clone()
                .map(|port| (port, self.ask(port, to[node])))
                .collect()
        };
        let (one, other) = (answered(0), answered(1));
        assert_eq!(one, other);
        one
    }

    /// Leads the load balancer's addresses to a node, as an announcement would.
    fn announce(&self, node: usize) {
        let [v4, v6] = self.cluster.node(node).addresses();
        let routes = format!(
            "route replace 203.0.113.0/24 via {v4}\nroute replace 2001:db8::/64 via {v6}\n"
        );
        self.cluster.world().outside().batch(&routes).unwrap();
    }
}

fn spec(more: &Value) -> Value {
    let port = |name: &str| {
        json!({
            "name": name.to_lowercase(), "protocol": name, "port": SERVICE_PORT, "targetPort": 8080,
            "nodePort": NODE_PORT,
        })
    };
    let mut spec = json!({
        "type": "LoadBalancer",
        "ports": [port("TCP"), port("UDP")],
        "status": { "loadBalancer": { "ingress": BALANCED.map(|ip| json!({ "ip": ip })) } },
    });
    let fields = spec.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    spec
}

fn balanced(family: usize) -> SocketAddr {
    SocketAddr::new(BALANCED[family].parse().unwrap(), SERVICE_PORT)
}

fn a_flow_has_one_backend_by_whichever_node_it_enters(mode: Mode) {
    let mut bed = Bed::start("maglev", mode, &spec(&json!({})));
    for family in 0..2 {
        let answered = bed.round(family);
        let names: BTreeSet<String> = answered.into_values().collect();
        assert!(names.len() > 2, "{names:?}");
        // A datagram flow whose way leads to the other node in its middle goes on there.
        let ports = bed.ports();
        bed.announce(0);
        let before: Vec<String> = ports
            .clone()
            .map(|p| bed.ask(p, balanced(family)))
            .collect();
        bed.announce(1);
        let after: Vec<String> = ports.map(|p| bed.ask(p, balanced(family))).collect();
        assert_eq!(before, after);
    }
    // Nobody who left is chosen, by either node.
    let stay: Vec<&Pod> = bed.pods[..4].iter().collect();
    bed.cluster.endpoints("web", &stay).unwrap();
    bed.await_tables(4);
    for family in 0..2 {
        let answered = bed.round(family);
        assert!(
            answered
                .values()
                .all(|name| name != "web4" && name != "web5")
        );
    }
    bed.cluster.agent_mut(1).crash().unwrap();
    bed.cluster.agent_mut(1).restart().unwrap();
    bed.await_tables(4);
    for family in 0..2 {
        bed.round(family);
    }
}

fn with_affinity_a_client_has_one_backend_by_whichever_node_it_enters(mode: Mode) {
    let bed = Bed::start(
        "maglev",
        mode,
        &spec(&json!({ "sessionAffinity": "ClientIP" })),
    );
    let outside = bed.cluster.world().outside();
    for family in 0..2 {
        let mut names = BTreeSet::new();
        for node in [0, 1, 0] {
            bed.announce(node);
            let direct = SocketAddr::new(bed.cluster.node(node).addresses()[family], NODE_PORT);
            for to in [direct, balanced(family)] {
                let answer = bed
                    .cluster
                    .eventually(&format!("answer of {to}"), || ask_tcp(outside, to).ok());
                names.insert(answer.unwrap().name);
            }
        }
        assert_eq!(names.len(), 1, "{names:?}");
    }
}
