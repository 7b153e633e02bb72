//! `sessionAffinity: ClientIP` between real sockets: a client keeps its backend by whatever way and address it asks.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, net::SocketAddr};

use proxy_agent::datapath::{Table as _, clock};
use proxy_common::affinity::CLIENT_NETNS;
use serde_json::{Value, json};
use weir_tests::{
    datapath::reader,
    in_every_mode,
    modes::Mode,
    served::{await_answer, serve},
    world::{Cluster, Place, Pod, Server, ask_tcp, ask_udp, cluster::SERVICE_PORT},
};

in_every_mode![
    a_client_has_one_backend_at_all_addresses_of_a_port,
    each_new_connection_begins_the_time_anew,
];

const NODE_PORT: u16 = 30080;
const BALANCED: [&str; 2] = ["203.0.113.80", "2001:db8::80"];
const EXTERNAL: [&str; 2] = ["203.0.113.81", "2001:db8::81"];
const OF_CLUSTER: [&str; 2] = ["10.96.0.80", "fd00:10:96::50"];

struct Bed {
    client: Pod,
    backends: Vec<Pod>,
    _servers: Vec<Server>,
    cluster: Cluster,
}

impl Bed {
    fn start(name: &str, mode: Mode) -> Self {
        let cluster = Cluster::start(name, &["a", "b"], mode).unwrap();
        let [v4, v6] = cluster.node(0).addresses();
        let routes =
            format!("route add 203.0.113.0/24 via {v4}\nroute add 2001:db8::/64 via {v6}\n");
        cluster.world().outside().batch(&routes).unwrap();
        let client = cluster.pod(0, "client").unwrap();
        let pods = (0..6).map(|n| cluster.pod(n % 2, &format!("web{n}")).unwrap());
        let backends: Vec<Pod> = pods.collect();
        let servers = backends.iter().flat_map(|pod| serve(pod).unwrap());
        let bed = Self {
            client,
            _servers: servers.collect(),
            cluster,
            backends,
        };
        let pods: Vec<&Pod> = bed.backends.iter().collect();
        bed.cluster.service("web", 80, &pods, &spec()).unwrap();
        for address in OF_CLUSTER {
            let to = SocketAddr::new(address.parse().unwrap(), SERVICE_PORT);
            await_answer(&bed.cluster, &bed.client, to).unwrap();
        }
        bed
    }

    /// Where the Service is asked in a family, cluster IP first.
    fn addresses(&self, family: usize) -> [SocketAddr; 4] {
        let at = |text: &str| SocketAddr::new(text.parse().unwrap(), SERVICE_PORT);
        [
            at(OF_CLUSTER[family]),
            at(BALANCED[family]),
            at(EXTERNAL[family]),
            SocketAddr::new(self.cluster.node(0).addresses()[family], NODE_PORT),
        ]
    }

    /// Who answers a client at these addresses.
    fn answered(&self, place: &Place, to: &[SocketAddr], udp: bool) -> BTreeSet<String> {
        let ask = |to: SocketAddr| {
            if udp {
                ask_udp(place, to, b"?")
            } else {
                ask_tcp(place, to)
            }
        };
        let asked = to.iter().flat_map(|to| [*to; 4]);
        asked
            .map(|to| {
                let answer = self
                    .cluster
                    .eventually(&format!("answer of {to}"), || ask(to).ok());
                answer.unwrap().name
            })
            .collect()
    }
}

fn spec() -> Value {
    let port = |name: &str| {
        json!({
            "name": name.to_lowercase(), "protocol": name, "port": SERVICE_PORT, "targetPort": 8080,
            "nodePort": NODE_PORT,
        })
    };
    json!({
        "type": "LoadBalancer",
        "sessionAffinity": "ClientIP",
        "externalIPs": EXTERNAL,
        "ports": [port("TCP"), port("UDP")],
        "status": { "loadBalancer": { "ingress": BALANCED.map(|ip| json!({ "ip": ip })) } },
    })
}

fn a_client_has_one_backend_at_all_addresses_of_a_port(mode: Mode) {
    let mut bed = Bed::start("affine", mode);
    // Past socket hooks, but the same client: the node.
    let past = bed.cluster.node(0).outsider().unwrap();
    for family in 0..2 {
        let to = bed.addresses(family);
        for udp in [false, true] {
            let pod = bed.answered(&bed.client, &to, udp);
            assert_eq!(pod.len(), 1, "of the pod, UDP {udp}: {pod:?}");
            let mut node = bed.answered(bed.cluster.node(0), &to, udp);
            node.extend(bed.answered(&past, &to, udp));
            assert_eq!(node.len(), 1, "of the node, UDP {udp}: {node:?}");
            let outside = bed.cluster.world().outside();
            let outside = bed.answered(outside, &to[1..], udp);
            assert_eq!(outside.len(), 1, "outside, UDP {udp}: {outside:?}");
        }
    }
    let reader = reader(bed.cluster.node(0)).unwrap();
    let clients = reader.maps().affinity.entries().unwrap();
    let strangers = clients
        .iter()
        .filter(|(key, _)| key.client[0] == CLIENT_NETNS);
    assert_eq!(strangers.count(), 0, "all are known by their addresses");

    let to = bed.addresses(0);
    let before = bed.answered(&bed.client, &to, false);
    // By the other way, if it is balanced at the socket.
    let object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "client",
            "namespace": "default",
            "uid": "a-client",
            "annotations": { "weir.dev/socket-balancing": "false" },
        },
        "spec": { "nodeName": "a", "containers": [{ "name": "main", "image": "none" }] },
        "status": { "phase": "Running", "podIP": bed.client.addresses()[0] },
    });
    let manifests = bed.cluster.manifests();
    manifests
        .apply_objects("pod-client.yaml", &[object])
        .unwrap();
    bed.cluster
        .eventually("the annotation to be followed", || {
            let clients = reader.maps().clients.entries().unwrap();
            let of = |client: &proxy_common::sockets::Client| client.flags != 0;
            clients.iter().any(|(_, client)| of(client)).then_some(())
        })
        .unwrap();
    assert_eq!(bed.answered(&bed.client, &to, false), before);

    let agent = bed.cluster.agent_mut(0);
    agent.crash().unwrap();
    agent.restart().unwrap();
    assert_eq!(bed.answered(&bed.client, &to, false), before, "a restart");
}

fn each_new_connection_begins_the_time_anew(mode: Mode) {
    let bed = Bed::start("anew", mode);
    let reader = reader(bed.cluster.node(0)).unwrap();
    let affinity = &reader.maps().affinity;
    let places: [&Place; 2] = [&bed.client, bed.cluster.node(0)];
    for place in places {
        for family in 0..2 {
            let to = bed.addresses(family);
            let before = bed.answered(place, &to[..1], false);
            let old = clock::seconds().saturating_sub(1000);
            for (key, mut entry) in affinity.entries().unwrap() {
                entry.last_used = old;
                affinity.clone().set(&key, &entry).unwrap();
            }
            assert_eq!(bed.answered(place, &to[1..2], false), before, "{to:?}");
            let renewed = affinity.entries().unwrap();
            let renewed = renewed.iter().filter(|(_, entry)| entry.last_used > old);
            assert_eq!(renewed.count(), 1, "by {to:?}");
        }
    }
}
