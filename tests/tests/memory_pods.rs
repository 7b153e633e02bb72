//! How much of the agent's memory 10 000 pods of other nodes and 1 000 policies take: from the JSON of an API server to
//! what is programmed, with the agent's allocator. Nothing else may run in this process.

use std::{io::Write as _, sync::Arc, time::Duration};

use k8s_openapi::api::{core::v1 as core, networking::v1 as networking};
use proxy_agent::{
    datapath::MemoryWords,
    model::Kind,
    observe::{Changes, Store, Update, intern::Interner},
    policy::{PolicyEngine, PolicyTables},
};
use serde_json::{Value, json};
use tikv_jemallocator::Jemalloc;
use weir_tests::heap::{Elsewhere, Parts, list};

#[global_allocator]
static HEAP: Jemalloc = Jemalloc;

const NODE: &str = "node-7";
const PODS: usize = 10_000;
const POLICIES: usize = 1_000;
/// Pods of one workload.
const REPLICAS: usize = 20;
/// Resident bytes per pod, with its share of policies.
const BUDGET: usize = 300;

fn tables() -> PolicyTables {
    PolicyTables {
        peers4: Box::new(Elsewhere("PEERS4")),
        peers6: Box::new(Elsewhere("PEERS6")),
        cidrs4: Box::new(Elsewhere("CIDRS4")),
        cidrs6: Box::new(Elsewhere("CIDRS6")),
        intervals: Box::new(Elsewhere("INTERVALS")),
        cells: Box::new(MemoryWords::new(1 << 16)),
        words: Box::new(MemoryWords::new(1 << 10)),
    }
}

/// As a Deployment's controller makes them, with what the API server adds.
fn pod(number: usize) -> Value {
    let workload = number / REPLICAS;
    let address = format!(
        "10.{}.{}.{}",
        128 + number / 65536,
        number / 256 % 256,
        number % 256
    );
    json!({
        "metadata": {
            "name": format!("web-{workload}-6d4cf56db6-{number:05}"), "namespace": format!("team-{}", workload % 50),
            "uid": format!("0d57a7c2-4f4c-4a1c-9c6f-{number:012x}"),
            "labels": {
                "app.kubernetes.io/name": format!("web-{workload}"), "app.kubernetes.io/part-of": "shop",
                "pod-template-hash": "6d4cf56db6", "tier": "front",
            },
        },
        "spec": {
            "nodeName": format!("node-{}", number * 7 % 100),
            "containers": [{
                "name": "main", "image": format!("registry.example/web-{workload}:1"),
                "ports": [{ "name": "http", "containerPort": 8080 }],
            }],
        },
        "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }] },
    })
}

/// Each lets a workload's pods in at a port.
fn policy(number: usize) -> Value {
    let from =
        json!({ "app.kubernetes.io/name": format!("web-{}", number * 3 % (PODS / REPLICAS)) });
    json!({
        "metadata": { "name": format!("allow-{number}"), "namespace": format!("team-{}", number % 50) },
        "spec": {
            "podSelector": { "matchLabels": { "tier": "front" } },
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{ "podSelector": { "matchLabels": from } }],
                "ports": [
                    { "protocol": "TCP", "port": 1024 + number },
                    { "protocol": "UDP", "port": 1024 + number },
                ],
            }],
        },
    })
}

#[test]
fn a_pod_of_another_node_stays_within_the_budget() {
    let interner = Interner::new(NODE);
    let store = Store::new();
    let mut changes = Changes::new(Arc::clone(&store), Duration::ZERO);
    let mut engine = PolicyEngine::new(tables(), NODE);
    for kind in [Kind::Node, Kind::Namespace] {
        store.update([Update::Replace(kind, Vec::new())]);
    }
    let mut parts = Parts::of(PODS);
    let pods = list::<core::Pod>(PODS, pod, &interner);
    store.update([Update::Replace(Kind::Pod, pods)]);
    drop(changes.take(&store.read()));
    parts.add("pods in the store");
    let policies = list::<networking::NetworkPolicy>(POLICIES, policy, &interner);
    store.update([Update::Replace(Kind::NetworkPolicy, policies)]);
    drop(changes.take(&store.read()));
    parts.add("policies in the store");
    let report = engine.sync(&store.read(), &[]).unwrap();
    assert_eq!(report.usage.peers, PODS);
    parts.add("what is programmed");
    let (total, parts) = parts.total();
    assert!(
        total <= BUDGET,
        "{total} bytes per pod, {BUDGET} are allowed: {parts:?}"
    );
    // The figures are wanted when the test passes, too.
    writeln!(std::io::stderr(), "{total} bytes per pod: {parts:?}").unwrap();
}
