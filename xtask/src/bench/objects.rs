//! Services and policies to measure with: two that are asked, any number that are only there.

use serde_json::{Value, json};
use weir_world::manifests::{service, slice};

/// Port of the server in every pod.
pub(crate) const PORT: u16 = 8080;
/// `ClusterIP` of the Service in front of the pod on the client's node.
pub(crate) const NEAR: &str = "10.96.1.1";
/// `ClusterIP` of the Service in front of the pod on the other node.
pub(crate) const FAR: &str = "10.96.1.2";

/// A Service with one port, at a given address.
pub(crate) fn cluster_ip(name: &str, address: &str, endpoints: &[(String, &str)]) -> [Value; 2] {
    let ports = json!([{ "name": "bench", "port": PORT, "protocol": "TCP" }]);
    let spec = json!({
        "type": "ClusterIP",
        "clusterIP": address,
        "clusterIPs": [address],
        "ipFamilies": ["IPv4"],
        "ports": [{ "name": "bench", "port": PORT, "protocol": "TCP", "targetPort": PORT }],
    });
    [service(name, &spec), slice(name, &ports, endpoints)]
}

/// Services `from..to` that nobody asks, each with `endpoints` endpoints that do not exist.
pub(crate) fn fillers(from: usize, to: usize, endpoints: usize) -> Vec<Value> {
    (from..to)
        .flat_map(|number| {
            let backends: Vec<(String, &str)> = (0..endpoints)
                .map(|backend| (filler_backend(number * endpoints + backend), "elsewhere"))
                .collect();
            cluster_ip(
                &format!("filler-{number}"),
                &filler_address(number),
                &backends,
            )
        })
        .collect()
}

/// The slice of a filler whose first endpoint has moved to an address that changes with `version`.
pub(crate) fn moved_filler(number: usize, endpoints: usize, version: usize) -> Value {
    let moved = format!("10.199.{}.{}", version / 250 % 250, version % 250 + 1);
    let mut backends: Vec<(String, &str)> = vec![(moved, "elsewhere")];
    backends.extend(
        (1..endpoints).map(|backend| (filler_backend(number * endpoints + backend), "elsewhere")),
    );
    let name = format!("filler-{number}");
    let [_, slice] = cluster_ip(&name, &filler_address(number), &backends);
    slice
}

/// Addresses from 10.96.16.0 on.
fn filler_address(number: usize) -> String {
    format!("10.96.{}.{}", 16 + number / 256, number % 256)
}

/// Addresses from 10.200.0.0 on.
fn filler_backend(number: usize) -> String {
    format!(
        "10.{}.{}.{}",
        200 + number / 65536,
        number / 256 % 256,
        number % 256
    )
}

/// A policy for all pods with `rules` rules, half of them ingress; the last of each side lets the bench pass.
pub(crate) fn policy(rules: usize) -> Value {
    let everyone = json!([{ "podSelector": {} }]);
    let side = |peers: &str| {
        let mut list: Vec<Value> = (1..rules / 2)
            .map(|number| {
                let block = format!("192.0.{}.{}/32", 2 + number / 256, number % 256);
                json!({
                    peers: [{ "ipBlock": { "cidr": block } }],
                    "ports": [{ "protocol": "TCP", "port": 1024 + number }],
                })
            })
            .collect();
        list.push(json!({
            peers: everyone,
            "ports": [{ "protocol": "TCP", "port": PORT }],
        }));
        list
    };
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": "bench", "namespace": "default" },
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": side("from"),
            "egress": side("to"),
        },
    })
}
