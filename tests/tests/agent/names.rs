//! What rules are called: known to people while they are in force, forgotten when they are gone.

use proxy_agent::api::{client::Client, messages::Names};
use serde_json::{Value, json};
use weir_tests::world::Cluster;

use super::drift::start;

/// Policies `{prefix}-0` and so on, one rule each.
fn policies(prefix: &str, count: u16) -> Vec<Value> {
    let policy = |n: u16| {
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": { "name": format!("{prefix}-{n}"), "namespace": "default" },
            "spec": {
                "podSelector": {},
                "policyTypes": ["Ingress"],
                "ingress": [{ "ports": [{ "port": 1000 + 2 * (n % 100), "protocol": "TCP" }] }],
            },
        })
    };
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" } });
    (0..count).map(policy).chain([namespace]).collect()
}

/// How many rules of policies with this prefix the agent knows.
fn known(cluster: &Cluster, prefix: &str) -> usize {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = Client::new(cluster.node(0).file("/run/weir/agent.sock"));
    let names: Names = runtime.block_on(client.get("/v1/names")).unwrap();
    let start = format!("default/{prefix}-");
    let rules = names.cookies.values();
    rules.filter(|name| name.starts_with(&start)).count()
}

#[test]
fn names_of_rules_that_are_gone_are_forgotten() {
    let cluster = start("names");
    let _pod = cluster.pod(0, "web").unwrap();
    let manifests = cluster.manifests();
    for (prefix, count) in [("old", 240), ("new", 40)] {
        manifests
            .apply_objects("policies.yaml", &policies(prefix, count))
            .unwrap();
        cluster
            .eventually("the rules to be known", || {
                (known(&cluster, prefix) == usize::from(count)).then_some(())
            })
            .unwrap();
    }
    cluster
        .eventually("the old ones to be forgotten", || {
            (known(&cluster, "old") == 0).then_some(())
        })
        .unwrap();
    assert_eq!(known(&cluster, "new"), 40);
}
