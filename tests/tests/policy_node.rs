//! Egress to the pod's own node: policies hold for it as for anyone, unless the configuration lets it pass.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};

use serde_json::json;
use weir_tests::world::{
    Cluster, Node, Pod, Server, ask_tcp,
    manifests::{service, slice},
};

const PORT: u16 = 9000;
const VIP: &str = "10.96.0.77";

fn at(node: &Node) -> [SocketAddr; 2] {
    node.addresses().map(|ip| (ip, PORT).into())
}

fn serve(node: &Node) -> Vec<Server> {
    let servers = at(node).map(|at| Server::tcp(node, at, node.name()).unwrap());
    servers.into()
}

fn isolate(cluster: &Cluster) {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": "no-way-out", "namespace": "default" },
        "spec": { "podSelector": {}, "policyTypes": ["Egress"] },
    });
    let manifests = cluster.manifests();
    manifests.apply_objects("policy.yaml", &[object]).unwrap();
}

/// Whether the agent's `policy why` says what the kernel does.
fn says(cluster: &Cluster, client: &Pod, allowed: bool) {
    let to = cluster.node(0).ipv4().to_string();
    let from = format!("default/{}", client.name());
    let why = ["policy", "why", &from, &to, "9000"];
    let (code, text) = cluster.agent(0).proxyctl_verdict(&why).unwrap();
    assert_eq!(code, i32::from(!allowed), "{text}");
    assert_eq!(text.contains("allowEgressToLocalNode"), allowed, "{text}");
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
    let _servers = [serve(own), serve(other)];
    for to in at(own).into_iter().chain(at(other)) {
        cluster
            .eventually("everyone to answer", || ask_tcp(&client, to).ok())
            .unwrap();
    }
    isolate(&cluster);
    for to in at(other) {
        cluster
            .eventually("the other node to be out of reach", || {
                ask_tcp(&client, to).is_err().then_some(())
            })
            .unwrap();
    }
    for to in at(own) {
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
