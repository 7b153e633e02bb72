//! Dropped packets in the agent's log: told of where the configuration asks for it, and only there.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;
use weir_tests::{
    datapath::drops,
    world::{Cluster, cluster::POD_PORT},
};

/// One node whose server hears nobody, asked once in each family; when that is counted, what the agent has said.
fn log_of_a_denied_client(name: &str, flags: &[&str]) -> (Cluster, String, Vec<String>) {
    let cluster = Cluster::start(name, &["a"], flags).unwrap();
    let server = cluster.pod(0, "server").unwrap();
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": "nobody", "namespace": "default" },
        "spec": { "podSelector": { "matchLabels": { "app": "server" } } },
    });
    cluster
        .manifests()
        .apply_objects("policy.yaml", &[policy])
        .unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let mut expected = Vec::new();
    for (to, from) in server.at(POD_PORT).into_iter().zip(client.addresses()) {
        let socket = client.udp((from, 0).into()).unwrap();
        cluster
            .eventually("the policy to be in force", || {
                socket.send_to(b"anybody there", to).unwrap();
                let wanted = if to.is_ipv4() { 1 } else { 2 };
                let counted = drops(cluster.node(0)).unwrap().into_iter();
                let denied = counted.filter(|(reason, _)| *reason == "policy-ingress");
                (denied.map(|(_, count)| count).sum::<u64>() >= wanted).then_some(())
            })
            .unwrap();
        expected.push(format!("source={from} destination={}", to.ip()));
    }
    let log = cluster.agent(0).log();
    (cluster, log, expected)
}

#[test]
fn each_dropped_packet_is_told_of_with_its_reason() {
    let (cluster, _, expected) = log_of_a_denied_client("droplog", &["--log-drops", "true"]);
    for pair in expected {
        cluster
            .eventually(&format!("a line about {pair}"), || {
                let log = cluster.agent(0).log();
                let mut lines = log.lines();
                let line = lines.find(|line| line.contains(&pair))?;
                assert!(line.contains("packet dropped"), "{line}");
                assert!(line.contains("reason=\"policy-ingress\""), "{line}");
                Some(())
            })
            .unwrap();
    }
}

#[test]
fn nothing_is_told_of_where_nobody_asks() {
    let (_cluster, log, _) = log_of_a_denied_client("nodroplog", &[]);
    assert!(!log.contains("packet dropped"), "{log}");
}
