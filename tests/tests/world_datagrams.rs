//! Connected sockets of datagrams when their backend goes: within five seconds another one answers them, or they are told
//! that there is none.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod datagrams {
    pub(crate) mod clients;
}

use std::net::{IpAddr, SocketAddr};

use serde_json::json;
use weir_tests::{
    in_every_mode,
    modes::Mode,
    served::serve,
    world::{
        Cluster, Node, Place, Pod, Server, World,
        cluster::{POD_PORT, SERVICE_PORT},
    },
};

use datagrams::clients::{
    Clients,
    Expected::{Answer, Refused},
};

const NODE_PORT: u16 = 30053;
/// Its addresses, as `Cluster::service` makes them.
const NUMBER: u8 = 80;
const EXTERNAL: [&str; 2] = ["198.51.100.7", "2001:db8:7::7"];

in_every_mode![sockets_follow_their_service];

#[test]
fn sockets_follow_their_service_through_the_tunnel() {
    sockets_follow_their_service(&["--routing", "tunnel"]);
}

/// Where the Service is asked, by name: its own address, its external one, its port on this node and on the other one.
fn frontends(nodes: &[Node]) -> Vec<(String, SocketAddr)> {
    let cluster_ip = [
        format!("10.96.0.{NUMBER}"),
        format!("fd00:10:96::{NUMBER:x}"),
    ];
    let fixed = |name: &str, all: [&str; 2]| {
        all.map(|ip| (name.to_owned(), to(ip.parse().unwrap(), SERVICE_PORT)))
    };
    let mut all = Vec::new();
    all.extend(fixed(
        "cluster IP",
        cluster_ip.each_ref().map(String::as_str),
    ));
    all.extend(fixed("external IP", EXTERNAL));
    for node in nodes {
        let name = format!("node port of {}", node.name());
        all.extend(node.addresses().map(|ip| (name.clone(), to(ip, NODE_PORT))));
    }
    all
}

fn to(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

/// Sockets of this place, one for each frontend.
fn connect(clients: &mut Clients, who: &str, place: &Place, nodes: &[Node]) {
    for (frontend, to) in frontends(nodes) {
        clients.connect(&format!("{who} to the {frontend}"), place, to);
    }
}

/// Sockets of the host: of processes below the agent's cgroup, and beside it.
fn connect_hosts(clients: &mut Clients, when: &str, nodes: &[Node]) {
    let host = &nodes[0];
    connect(clients, &format!("the host, {when}"), host, nodes);
    let outsider = host.outsider().unwrap();
    connect(
        clients,
        &format!("beside the cgroup, {when}"),
        &outsider,
        nodes,
    );
}

/// A Service of every kind of address, for which nobody serves yet.
fn publish(cluster: &Cluster) {
    let port = |name: &str| {
        json!({
            "name": name, "protocol": name.to_uppercase(), "port": SERVICE_PORT,
            "targetPort": POD_PORT, "nodePort": NODE_PORT,
        })
    };
    let more = json!({
        "type": "NodePort", "ports": [port("tcp"), port("udp")], "externalIPs": EXTERNAL,
    });
    cluster.service("dns", NUMBER, &[], &more).unwrap();
}

struct Backend {
    // They end before their pod.
    _servers: Vec<Server>,
    pod: Pod,
}

fn backend(cluster: &Cluster, node: usize, name: &str) -> Backend {
    let pod = cluster.pod(node, name).unwrap();
    Backend {
        _servers: serve(&pod).unwrap(),
        pod,
    }
}

fn sockets_follow_their_service(mode: Mode) {
    // What no agent has ever seen: some have only been connected, some have sent.
    let before = |_: &World, nodes: &[Node]| {
        let [mut silent, mut spoke] = [Clients::default(), Clients::default()];
        connect_hosts(&mut silent, "before there was an agent", nodes);
        connect_hosts(&mut spoke, "speaking before there was an agent", nodes);
        spoke.speak();
        silent.join(spoke);
        Ok(silent)
    };
    let (mut cluster, mut clients) =
        Cluster::start_after("datagrams", &["a", "b"], mode, before).unwrap();
    let nodes = [cluster.node(0).clone(), cluster.node(1).clone()];
    let client = cluster.pod(0, "client").unwrap();
    publish(&cluster);
    let early = [backend(&cluster, 0, "near"), backend(&cluster, 1, "far")];
    let [near, far] = early;
    // `connect` fails for nobody.
    connect(
        &mut clients,
        "a pod, before anybody served",
        &client,
        &nodes,
    );
    connect_hosts(&mut clients, "before anybody served", &nodes);
    clients.become_all(&cluster, "nobody serves yet", &Refused);

    let endpoints = |cluster: &Cluster, all: &[&Pod]| cluster.endpoints("dns", all).unwrap();
    endpoints(&cluster, &[&near.pod]);
    clients.become_all(&cluster, "one serves", &Answer("near"));
    endpoints(&cluster, &[&near.pod, &far.pod]);
    connect(&mut clients, "a pod, while two served", &client, &nodes);
    connect_hosts(&mut clients, "while two served", &nodes);
    clients.answered_by_any(&cluster, "two serve", &["near", "far"]);
    endpoints(&cluster, &[&far.pod]);
    clients.become_all(&cluster, "one was removed", &Answer("far"));

    drop(far);
    endpoints(&cluster, &[&near.pod]);
    clients.become_all(&cluster, "one was deleted", &Answer("near"));
    drop(near);
    endpoints(&cluster, &[]);
    clients.become_all(&cluster, "the last one was deleted", &Refused);
    let near = backend(&cluster, 0, "near-again");
    endpoints(&cluster, &[&near.pod]);
    clients.become_all(&cluster, "there is one again", &Answer("near-again"));

    let far = backend(&cluster, 1, "far-again");
    for index in 0..2 {
        cluster.agent_mut(index).crash().unwrap();
    }
    connect(&mut clients, "a pod, while no agent ran", &client, &nodes);
    connect_hosts(&mut clients, "while no agent ran", &nodes);
    clients.become_all(&cluster, "no agent runs", &Answer("near-again"));
    endpoints(&cluster, &[&far.pod]);
    for index in 0..2 {
        cluster.agent_mut(index).restart().unwrap();
    }
    clients.become_all(&cluster, "one was removed meanwhile", &Answer("far-again"));
}
