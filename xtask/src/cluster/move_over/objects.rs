//! The objects of the workload.

use serde_json::{Value, json};

use crate::cluster::lab::Node;

/// Their namespace.
pub(super) const NAMESPACE: &str = "move-over";
/// Ports of pods that serve, on their own addresses.
pub(super) const PORT: u16 = 8080;
/// Of those on the host's network.
pub(super) const HOST_NETWORK_PORT: u16 = 18090;
/// By which a node leads to its pod.
pub(super) const HOST_PORT: u16 = 18080;

const IMAGE: &str = "registry.k8s.io/e2e-test-images/agnhost:2.63.0";

/// The `NodePort` of a node's Service.
pub(super) fn node_port(node: Node) -> u16 {
    31_000 + u16::from(node.0)
}

/// All of them: on each node a pod that `kubectl drain` evicts, behind a Service of its own; one that it leaves (`stay`), since a
/// `DaemonSet` has made it; and one on the host's network.
pub(super) fn all(nodes: &[Node]) -> Value {
    let mut items = vec![
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }),
        daemon_set("stay", PORT, false),
        daemon_set("host", HOST_NETWORK_PORT, true),
    ];
    for node in nodes {
        items.push(deployment(*node));
        items.push(service(*node));
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

/// The name of a node's Deployment and Service.
pub(super) fn web(node: Node) -> String {
    format!("web-{}", node.name())
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "namespace": NAMESPACE })
}

fn deployment(node: Node) -> Value {
    let name = web(node);
    let mut pod = pod(PORT);
    pod["nodeSelector"] = json!({ "kubernetes.io/hostname": node.name() });
    pod["containers"][0]["ports"] =
        json!([{ "containerPort": PORT, "hostPort": HOST_PORT, "protocol": "TCP" }]);
    let labels = json!({ "app": "web", "web": name });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(&name),
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "web": name } },
            "template": { "metadata": { "labels": labels }, "spec": pod },
        },
    })
}

fn daemon_set(name: &str, port: u16, host_network: bool) -> Value {
    let mut pod = pod(port);
    if host_network {
        pod["hostNetwork"] = json!(true);
        pod["dnsPolicy"] = json!("ClusterFirstWithHostNet");
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(name),
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": pod },
        },
    })
}

fn pod(port: u16) -> Value {
    json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "agnhost",
            "image": IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "args": ["netexec", format!("--http-port={port}"), format!("--udp-port={port}")],
            "readinessProbe": { "httpGet": { "path": "/healthz", "port": port }, "periodSeconds": 1 },
        }],
    })
}

fn service(node: Node) -> Value {
    let name = web(node);
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(&name),
        "spec": {
            "type": "NodePort",
            "ipFamilyPolicy": "PreferDualStack",
            "selector": { "web": name },
            "ports": [{ "port": 80, "targetPort": PORT, "nodePort": node_port(node) }],
        },
    })
}
