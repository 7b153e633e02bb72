//! Pods of this node, which are wired, and of others, which are only there; and policies for them.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use weir_world::{Node, Plugin, Pod};

use crate::bench::{api::Api, objects};

/// Teams that pods elsewhere belong to, and that policies let in.
const TEAMS: u32 = 500;

/// A pod that asks and one that answers, on this node.
pub(super) struct Pods {
    pub(super) client: Pod,
    pub(super) server: Pod,
}

impl Pods {
    /// Makes them, and the policy that lets in who is a friend.
    pub(super) fn new(node: &Node, api: &Api) -> Result<Self> {
        api.create(&[friends()])?;
        Ok(Self {
            client: wire(
                node,
                api,
                "client",
                &json!({ "app": "bench", "role": "stranger" }),
            )?,
            server: wire(
                node,
                api,
                "server",
                &json!({ "app": "bench", "part": "server" }),
            )?,
        })
    }
}

fn wire(node: &Node, api: &Api, name: &str, labels: &Value) -> Result<Pod> {
    api.create(&[object(name, node.name(), labels, None)])?;
    let change = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name } });
    let made = api.merge(&change)?;
    let uid = made["metadata"]["uid"].as_str().context("no UID")?;
    let pod = node.pod(&Plugin::weir()?.with_uid(uid), name)?;
    let address = pod.ipv4().to_string();
    api.merge_status(&object(name, node.name(), labels, Some(&address)))?;
    Ok(pod)
}

/// Pods of other nodes, each of a team.
pub(super) fn elsewhere(count: u32) -> Vec<Value> {
    let pod = |number: u32| {
        let labels = json!({ "app": "bench", "team": format!("t{}", number % TEAMS) });
        let address = format!("10.150.{}.{}", number / 250, number % 250 + 1);
        object(
            &format!("pod-{number}"),
            "elsewhere",
            &labels,
            Some(&address),
        )
    };
    (0..count).map(pod).collect()
}

/// Policies for the pods of this node, each of which lets a team in at a port of its own.
pub(super) fn policies(count: u32) -> Vec<Value> {
    let one = |number: u32| {
        let team = json!({ "team": format!("t{}", number % TEAMS) });
        let select = json!({ "part": "server" });
        policy(&format!("policy-{number}"), &select, &team, 1024 + number)
    };
    (0..count).map(one).collect()
}

fn friends() -> Value {
    let select = json!({ "part": "server" });
    policy(
        "friends",
        &select,
        &json!({ "role": "friend" }),
        objects::PORT.into(),
    )
}

fn policy(name: &str, select: &Value, from: &Value, port: u32) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "podSelector": { "matchLabels": select },
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{ "podSelector": { "matchLabels": from } }],
                "ports": [
                    { "protocol": "TCP", "port": port },
                    { "protocol": "UDP", "port": port },
                ],
            }],
        },
    })
}

fn object(name: &str, node: &str, labels: &Value, address: Option<&str>) -> Value {
    let addresses: Vec<Value> = address.iter().map(|ip| json!({ "ip": ip })).collect();
    let phase = if address.is_some() {
        "Running"
    } else {
        "Pending"
    };
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "labels": labels },
        "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "none" }] },
        "status": { "phase": phase, "podIP": address, "podIPs": addresses },
    })
}
