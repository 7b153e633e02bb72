//! Static pods: the runtime is told the UID that the kubelet made, the API has a mirror pod with another.

use serde_json::{Value, json};
use weir_tests::world::{
    Cluster, Plugin, Pod, Server, ask_tcp, cluster::POD_PORT, http_get, until,
};

/// What the kubelet makes of a manifest.
const HASH: &str = "0123456789abcdef0123456789abcdef";
const NAME: &str = "static-a";

/// The mirror pod with these annotations, and the addresses it has by now.
fn mirror(cluster: &Cluster, annotations: &Value, ips: &[String]) {
    let pod_ips: Vec<Value> = ips.iter().map(|ip| json!({ "ip": ip })).collect();
    let phase = if ips.is_empty() { "Pending" } else { "Running" };
    let object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": NAME,
            "namespace": "default",
            "uid": "7f1e0f0e-0000-4000-8000-000000000001",
            "labels": { "app": "static" },
            "annotations": annotations,
        },
        "spec": { "nodeName": "a", "containers": [{ "name": "main", "image": "none" }] },
        "status": { "phase": phase, "podIP": ips.first(), "podIPs": pod_ips },
    });
    let manifests = cluster.manifests();
    manifests
        .apply_objects("pod-static.yaml", &[object])
        .unwrap();
}

fn static_pod(cluster: &Cluster) -> anyhow::Result<Pod> {
    let plugin = Plugin::weir()?.with_uid(HASH);
    cluster.node(0).pod(&plugin, NAME)
}

/// Only pods with label `app: friend` may ask pods with label `app: static`.
fn isolate(cluster: &Cluster) {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": "friends", "namespace": "default" },
        "spec": {
            "podSelector": { "matchLabels": { "app": "static" } },
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": [{ "podSelector": { "matchLabels": { "app": "friend" } } }] }],
        },
    });
    let manifests = cluster.manifests();
    manifests.apply_objects("policy.yaml", &[object]).unwrap();
}

#[test]
fn it_starts_serves_and_is_subject_to_policy_over_a_restart() {
    let mut cluster = Cluster::start("cni-static", &["a", "b"], &[]).unwrap();
    isolate(&cluster);
    let annotations = [
        json!({ "kubernetes.io/config.mirror": HASH, "kubernetes.io/config.hash": HASH }),
        json!({ "kubernetes.io/config.mirror": HASH }),
    ];
    for annotations in annotations {
        mirror(&cluster, &annotations, &[]);
        let pod = static_pod(&cluster).unwrap_or_else(|e| panic!("{e:#}\n{}", cluster.logs()));
        mirror(
            &cluster,
            &annotations,
            &pod.addresses().map(|ip| ip.to_string()),
        );
        let at = pod.at(POD_PORT);
        let _servers = at.map(|at| Server::tcp(&pod, at, NAME).unwrap());
        let [vip, _] = cluster.service("static", 50, &[&pod], &json!({})).unwrap();
        let (friend, stranger) = (
            cluster.pod(1, "friend").unwrap(),
            cluster.pod(0, "stranger").unwrap(),
        );
        let works = |cluster: &Cluster| {
            for at in at.into_iter().chain([(vip, 80).into()]) {
                cluster
                    .eventually("the friend to be served", || ask_tcp(&friend, at).ok())
                    .unwrap();
                // The node's own probes always may.
                cluster
                    .eventually("the node to be served", || {
                        ask_tcp(cluster.node(0), at).ok()
                    })
                    .unwrap();
                assert!(ask_tcp(&stranger, at).is_err(), "{at} serves a stranger");
            }
        };
        works(&cluster);
        cluster.agent_mut(0).crash().unwrap();
        cluster.agent_mut(0).restart().unwrap();
        works(&cluster);
    }
}

#[test]
fn a_pod_of_another_uid_is_not_it() {
    let cluster = Cluster::start("cni-uid", &["a"], &[]).unwrap();
    // The annotation alone makes no mirror; a mirror of another manifest is another pod.
    for annotations in [
        json!({ "kubernetes.io/config.hash": HASH }),
        json!({ "kubernetes.io/config.mirror": "another", "kubernetes.io/config.hash": "another" }),
    ] {
        mirror(&cluster, &annotations, &[]);
        let refused = static_pod(&cluster).map(drop).unwrap_err();
        let why = format!("{refused:#}");
        assert!(
            why.contains("policy of pod default/static-a is not in force"),
            "{why}"
        );
        cluster
            .node(0)
            .run(&["ip", "netns", "delete", NAME])
            .unwrap();
    }
    until(
        "the agent to be well",
        std::time::Duration::from_secs(10),
        || {
            let health = http_get(cluster.node(0), ([127, 0, 0, 1], 10256).into(), "/readyz");
            Ok(health.is_ok_and(|(code, _)| code == 200).then_some(()))
        },
    )
    .unwrap();
}
