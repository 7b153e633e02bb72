//! Policy of the backend judges the client itself.

use serde_json::{Value, json};
use weir_tests::world::{ask_tcp, ask_udp};

use super::bed::Bed;

fn from(ranges: &[&str]) -> Value {
    let blocks: Vec<Value> = ranges
        .iter()
        .map(|range| json!({ "ipBlock": { "cidr": range } }))
        .collect();
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": "clients", "namespace": "default" },
        "spec": {
            "podSelector": { "matchLabels": { "app": "far" } },
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": blocks }],
        },
    })
}

#[test]
fn policy_sees_the_client() {
    for mode in ["dsr", "tunnel"] {
        let bed = Bed::on_link("policy", mode, &[]);
        bed.service(&json!({}));
        let policy = |ranges: &[&str]| {
            let objects = [from(ranges)];
            bed.cluster
                .manifests()
                .apply_objects("policy.yaml", &objects)
                .unwrap();
        };
        policy(&["172.30.0.1/32", "fd30::1/128"]);
        for to in bed.node_ports(0) {
            bed.serves(to);
        }
        // The node by which it came is not who asks.
        policy(&["172.30.0.11/32", "fd30::b/128"]);
        for to in bed.node_ports(0) {
            bed.cluster
                .eventually("a denial", || {
                    ask_tcp(bed.outside(), to).is_err().then_some(())
                })
                .unwrap();
            ask_udp(bed.outside(), to, b"?").unwrap_err();
        }
        assert!(bed.dropped(1, "policy-ingress") > 0, "{}", bed.said());
    }
}
