//! Policy between real sockets: what a policy closes is closed, what it opens is open, in both families, on
//! the node and across; and a flow that was allowed ends when it is no longer.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use weir_tests::{
    served::serve_on,
    world::{Cluster, Place, Pod, Server, Talk, ask_tcp, ask_udp, cluster::POD_PORT},
};

/// A second port of the servers.
const OTHER_PORT: u16 = 8081;

/// TCP and UDP servers of both families on two ports.
fn serve(pod: &Pod) -> Vec<Server> {
    serve_on(pod, &[POD_PORT, OTHER_PORT]).unwrap()
}

fn apply(cluster: &Cluster, name: &str, spec: &Value) {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": name, "namespace": "default" },
        "spec": spec,
    });
    let file = format!("policy-{name}.yaml");
    cluster.manifests().apply_objects(&file, &[object]).unwrap();
}

fn app(name: &str) -> Value {
    json!({ "matchLabels": { "app": name } })
}

fn answers(place: &Place, to: SocketAddr) -> bool {
    ask_tcp(place, to).is_ok()
}

/// Waits until a connection is answered, or no longer is.
fn becomes(cluster: &Cluster, place: &Place, to: SocketAddr, open: bool) {
    let what = format!("{to} {}", if open { "opens" } else { "closes" });
    cluster
        .eventually(&what, || (answers(place, to) == open).then_some(()))
        .unwrap();
}

#[test]
fn selectors_ports_and_protocols_of_ingress() {
    let cluster = Cluster::start("ingress", &["a", "b"], &[]).unwrap();
    let server = cluster.pod(0, "server").unwrap();
    let _servers = serve(&server);
    let good = [
        cluster
            .labelled_pod(0, "near", &json!({ "app": "good" }))
            .unwrap(),
        cluster
            .labelled_pod(1, "far", &json!({ "app": "good" }))
            .unwrap(),
    ];
    let bad = cluster.pod(1, "bad").unwrap();
    for to in server.at(POD_PORT) {
        becomes(&cluster, &bad, to, true);
    }
    apply(
        &cluster,
        "server",
        &json!({
            "podSelector": app("server"),
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{ "podSelector": app("good") }],
                "ports": [{ "protocol": "TCP", "port": POD_PORT }],
            }],
        }),
    );
    for (to, other) in server.at(POD_PORT).into_iter().zip(server.at(OTHER_PORT)) {
        becomes(&cluster, &bad, to, false);
        for client in &good {
            becomes(&cluster, client, to, true);
        }
        assert!(!answers(&good[1], other), "another port: {other}");
        assert!(
            ask_udp(&good[1], to, b"?").is_err(),
            "another protocol: {to}"
        );
        assert!(
            answers(server.node(), to),
            "the node reaches its pods: {to}"
        );
    }
    let why = |from: &str| {
        let words = ["policy", "why", from, "default/server", "8080"];
        cluster.agent(0).proxyctl_verdict(&words).unwrap()
    };
    let (code, text) = why("default/near");
    assert!(
        code == 0 && text.contains("default/server ingress[0]"),
        "{text}"
    );
    let (code, text) = why("default/bad");
    assert!(
        code == 1 && text.contains("isolated by default/server"),
        "{text}"
    );
}

#[test]
fn an_allowed_flow_ends_when_it_is_no_longer_allowed() {
    let cluster = Cluster::start("cut", &["a", "b"], &[]).unwrap();
    let server = cluster.pod(0, "server").unwrap();
    let _servers = serve(&server);
    let (one, two) = (
        cluster.pod(1, "one").unwrap(),
        cluster.pod(1, "two").unwrap(),
    );
    for to in server.at(POD_PORT) {
        becomes(&cluster, &one, to, true);
        becomes(&cluster, &two, to, true);
    }
    let flows = |client: &Pod| {
        let opened = server.at(POD_PORT).map(|to| Talk::open(client, to));
        opened.map(Result::unwrap)
    };
    let (mut ended, mut kept) = (flows(&one), flows(&two));
    for flow in ended.iter_mut().chain(&mut kept) {
        flow.echo("once more").unwrap();
    }
    apply(
        &cluster,
        "server",
        &json!({
            "podSelector": app("server"),
            "ingress": [{ "from": [{ "podSelector": app("two") }] }],
        }),
    );
    for flow in &mut ended {
        cluster
            .eventually("the flow ends", || flow.echo("once more").err())
            .unwrap();
    }
    for flow in &mut kept {
        flow.echo("once more").unwrap();
    }
}

#[test]
fn egress_blocks_exceptions_and_named_ports() {
    let cluster = Cluster::start("egress", &["a", "b"], &[]).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let (open_to, closed) = (
        cluster.pod(1, "open").unwrap(),
        cluster.pod(1, "closed").unwrap(),
    );
    let _servers = [serve(&open_to), serve(&closed)];
    for to in [open_to.at(POD_PORT), closed.at(POD_PORT)].concat() {
        becomes(&cluster, &client, to, true);
    }
    let [v4, v6] = closed.addresses();
    let around = |address: IpAddr, all: &str, bits: u8| json!({ "ipBlock": { "cidr": all, "except": [format!("{address}/{bits}")] } });
    apply(
        &cluster,
        "client",
        &json!({
            "podSelector": app("client"),
            "policyTypes": ["Egress"],
            "egress": [{ "to": [around(v4, "0.0.0.0/0", 32), around(v6, "::/0", 128)] }],
        }),
    );
    for (yes, no) in open_to.at(POD_PORT).into_iter().zip(closed.at(POD_PORT)) {
        becomes(&cluster, &client, no, false);
        becomes(&cluster, &client, yes, true);
    }
    let named = json!([{ "protocol": "TCP", "port": "web" }]);
    apply(
        &cluster,
        "client",
        &json!({
            "podSelector": app("client"),
            "policyTypes": ["Egress"],
            "egress": [{ "ports": named }],
        }),
    );
    // The name is that of the destination's port.
    let [ip4, ip6] = open_to.addresses();
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "open", "namespace": "default", "uid": "b-open", "labels": { "app": "open" } },
        "spec": { "nodeName": "b", "containers": [{
            "name": "main", "image": "none",
            "ports": [{ "name": "web", "containerPort": OTHER_PORT, "protocol": "TCP" }],
        }] },
        "status": { "phase": "Running", "podIP": ip4, "podIPs": [{ "ip": ip4 }, { "ip": ip6 }] },
    });
    cluster
        .manifests()
        .apply_objects("pod-open.yaml", &[pod])
        .unwrap();
    for (named, other) in open_to.at(OTHER_PORT).into_iter().zip(open_to.at(POD_PORT)) {
        becomes(&cluster, &client, other, false);
        becomes(&cluster, &client, named, true);
    }
}
