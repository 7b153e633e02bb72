//! Policy of the backend judges the client itself; where the mode is `snat`, the node by which it came.

use std::net::IpAddr;

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

/// By what `policy why` says, a policy is made that lets just that address pass: it is who is judged.
#[test]
fn policy_why_says_who_is_judged() {
    for mode in ["dsr", "tunnel", "snat"] {
        let bed = Bed::on_link("judged", mode, &[]);
        bed.service(&json!({}));
        for (to, client) in bed.node_ports(0).into_iter().zip(bed.clients) {
            bed.await_answer(to);
            let (ip, port) = (to.ip().to_string(), to.port().to_string());
            let words = [
                "policy",
                "why",
                &client.to_string(),
                &ip,
                &port,
                "-o",
                "json",
            ];
            let (_, said) = bed.cluster.agent(0).proxyctl_verdict(&words).unwrap();
            let why: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
            let judged = &why["paths"][0]["judged"];
            assert_eq!(judged["mode"], mode, "{said}");
            let address: IpAddr = judged["address"].as_str().unwrap().parse().unwrap();
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let only = |ip: IpAddr| {
                let objects = [from(&[&format!("{ip}/{bits}")])];
                let manifests = bed.cluster.manifests();
                manifests.apply_objects("policy.yaml", &objects).unwrap();
            };
            only(address);
            bed.serves(to);
            // Neither the client nor the node, whichever is not judged.
            let other = if address == client { to.ip() } else { client };
            only(other);
            bed.cluster
                .eventually("a denial", || {
                    ask_tcp(bed.outside(), to).is_err().then_some(())
                })
                .unwrap_or_else(|error| panic!("{mode} {to}: {error:#}\n{}", bed.said()));
            bed.cluster.manifests().remove("policy.yaml").unwrap();
        }
    }
}
