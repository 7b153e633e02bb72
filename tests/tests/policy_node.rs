//! Egress to the pod's own node: policies hold for it as for anyone, unless the configuration lets it pass. The node itself reaches
//! its pods whatever they say. Its addresses are all that are local there, however many they are.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde_json::json;
use weir_tests::{
    in_every_mode,
    modes::Mode,
    world::{
        Cluster, Node, Pod, Server, ask_tcp,
        manifests::{service, slice},
    },
};

in_every_mode![the_own_node_reaches_its_pods_from_every_address];

const PORT: u16 = 9000;
/// How long an answer is waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
const VIP: &str = "10.96.0.77";
/// Ranges that are local by a route, and an address of each.
const LOCAL: [(&str, &str); 2] = [
    ("198.18.0.0/15", "198.19.254.1"),
    ("fd78::/64", "fd78::ffff:0:1"),
];

/// Makes the ranges a node's, and lets sockets have their addresses, which IPv6 does not by itself.
fn has_ranges(node: &Node) -> [IpAddr; 2] {
    let bind = "echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind";
    node.run(&["sh", "-c", bind]).unwrap();
    LOCAL.map(|(range, ip)| {
        let ip: IpAddr = ip.parse().unwrap();
        let family = if ip.is_ipv4() { "-4" } else { "-6" };
        let route = ["ip", family, "route", "add", "local", range, "dev", "lo"];
        node.run(&route).unwrap();
        ip
    })
}

fn at(node: &Node) -> [SocketAddr; 2] {
    node.addresses().map(|ip| (ip, PORT).into())
}

fn serve(node: &Node) -> Vec<Server> {
    let servers = at(node).map(|at| Server::tcp(node, at, node.name()).unwrap());
    servers.into()
}

fn isolate(cluster: &Cluster, direction: &str) {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": "no-way", "namespace": "default" },
        "spec": { "podSelector": {}, "policyTypes": [direction] },
    });
    let manifests = cluster.manifests();
    manifests.apply_objects("policy.yaml", &[object]).unwrap();
}

/// Whether the agent's `policy why` says what the kernel does.
fn says(cluster: &Cluster, client: &Pod, allowed: bool) {
    let from = format!("default/{}", client.name());
    for to in [&cluster.node(0).ipv4().to_string(), LOCAL[0].1, LOCAL[1].1] {
        let why = ["policy", "why", &from, to, "9000"];
        let (code, text) = cluster.agent(0).proxyctl_verdict(&why).unwrap();
        assert_eq!(code, i32::from(!allowed), "{text}");
        assert_eq!(text.contains("allowEgressToLocalNode"), allowed, "{text}");
    }
}

/// Whether `service trace` says the same of a Service that the node itself serves.
fn follows(cluster: &Cluster, client: &Pod, allowed: bool) {
    let ports = json!([{ "name": "", "protocol": "TCP", "port": PORT }]);
    let spec = json!({ "clusterIP": VIP, "clusterIPs": [VIP], "ports": ports });
    let backend = cluster.node(0).ipv4().to_string();
    let objects = [
        service("on-node", &spec),
        slice("on-node", &ports, &[(backend, cluster.node(0).name())]),
    ];
    let manifests = cluster.manifests();
    manifests.apply_objects("service.yaml", &objects).unwrap();
    let from = format!("default/{}", client.name());
    let trace = ["service", "trace", &from, &format!("{VIP}:{PORT}")];
    let said = cluster.eventually("the Service to be known", || {
        let (code, text) = cluster.agent(0).proxyctl_verdict(&trace).unwrap();
        text.contains("on-node").then_some((code, text))
    });
    let (code, text) = said.unwrap();
    assert_eq!(code, i32::from(!allowed), "{text}");
    let at: SocketAddr = (VIP.parse::<IpAddr>().unwrap(), PORT).into();
    assert_eq!(ask_tcp(client, at).is_ok(), allowed, "{at}");
}

fn own_node_is_reached(name: &str, allowed: bool) {
    let flag = allowed.to_string();
    let flags = ["--allow-egress-to-local-node", &flag];
    let cluster = Cluster::start(name, &["a", "b"], &flags).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let (own, other) = (cluster.node(0), cluster.node(1));
    let ranges = has_ranges(own).map(|ip| SocketAddr::new(ip, PORT));
    let _of_ranges = ranges.map(|at| Server::tcp(own, at, own.name()).unwrap());
    let _servers = [serve(own), serve(other)];
    for to in at(own).into_iter().chain(at(other)).chain(ranges) {
        cluster
            .eventually("everyone to answer", || ask_tcp(&client, to).ok())
            .unwrap();
    }
    isolate(&cluster, "Egress");
    for to in at(other) {
        cluster
            .eventually("the other node to be out of reach", || {
                ask_tcp(&client, to).is_err().then_some(())
            })
            .unwrap();
    }
    for to in at(own).into_iter().chain(ranges) {
        assert_eq!(ask_tcp(&client, to).is_ok(), allowed, "{to}");
    }
    says(&cluster, &client, allowed);
    follows(&cluster, &client, allowed);
}

#[test]
fn policies_hold_for_the_own_node() {
    own_node_is_reached("own-node", false);
}

#[test]
fn it_may_be_let_pass_and_the_other_nodes_not() {
    own_node_is_reached("own-node-open", true);
}

fn the_own_node_reaches_its_pods_from_every_address(mode: Mode) {
    let cluster = Cluster::start("own-node-in", &["a", "b"], mode).unwrap();
    let pod = cluster.pod(0, "server").unwrap();
    let (own, other) = (cluster.node(0), cluster.node(1));
    let ranges = has_ranges(own);
    let servers = pod.at(PORT).map(|at| {
        let tcp = Server::tcp(&pod, at, pod.name()).unwrap();
        [tcp, Server::udp(&pod, at, pod.name()).unwrap()]
    });
    for to in pod.at(PORT) {
        cluster
            .eventually("the pod to answer", || ask_tcp(other, to).ok())
            .unwrap();
    }
    isolate(&cluster, "Ingress");
    for to in pod.at(PORT) {
        cluster
            .eventually("the pod to be out of another node's reach", || {
                ask_tcp(other, to).is_err().then_some(())
            })
            .unwrap();
    }
    for ips in [own.addresses(), ranges] {
        for (ip, to) in ips.into_iter().zip(pod.at(PORT)) {
            let socket = own.udp(SocketAddr::new(ip, 0)).unwrap();
            socket.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
            let mut answer = [0; 64];
            // The agent may not have seen the range yet.
            let asked = || {
                socket.send_to(b"?", to).ok()?;
                socket.recv_from(&mut answer).ok()
            };
            let (_, from) = cluster
                .eventually(&format!("an answer of {to} to {ip}"), asked)
                .unwrap();
            assert_eq!(from, to);
            let (from, name) = (ip.to_string(), format!("default/{}", pod.name()));
            let why = ["policy", "why", &from, &name, "9000/udp"];
            let (code, text) = cluster.agent(0).proxyctl_verdict(&why).unwrap();
            assert_eq!(code, 0, "{text}");
            assert!(text.contains("the pod's own node"), "{text}");
        }
    }
    drop(servers);
}
