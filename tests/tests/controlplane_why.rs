//! `policy why --all-nodes`: both nodes of a flow are asked through a real API server, by the rights of whoever asks.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use weir_tests::{
    controlplane::{ControlPlane, Kubelet},
    world::{Cluster, Node, Pod, program},
};

/// Two nodes with agents, a server on one of them that lets only friends in, and the API server's view of it.
struct Stage {
    plane: ControlPlane,
    kubelets: Vec<Kubelet>,
    pods: [Pod; 3],
    cluster: Cluster,
}

impl Stage {
    async fn set() -> Result<Self> {
        let cluster = Cluster::start("why-all", &["a", "b"], &["--map-size", "small"])?;
        let server = cluster.pod(0, "server")?;
        let pods = [cluster.pod(1, "client")?, cluster.pod(1, "friend")?];
        cluster.service("web", 10, &[&server], &json!({}))?;
        let closed = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": { "name": "closed", "namespace": "default" },
            "spec": {
                "podSelector": { "matchLabels": { "app": "server" } },
                "policyTypes": ["Ingress"],
                "ingress": [{ "from": [{ "podSelector": { "matchLabels": { "app": "friend" } } }] }],
            },
        });
        cluster
            .manifests()
            .apply_objects("closed.yaml", &[closed])?;
        let in_force = |from: &str| {
            let words = ["policy", "why", from, "default/server", "8080"];
            cluster.agent(0).proxyctl_verdict(&words).unwrap().0
        };
        cluster.eventually("the policy to be in force", || {
            let codes = (in_force("default/client"), in_force("default/friend"));
            // The friend's own node has a say too.
            (codes == (1, 5)).then_some(())
        })?;
        let plane = ControlPlane::start().await?;
        let mut kubelets = Vec::new();
        for index in [0, 1] {
            kubelets.push(kubelet(cluster.node(index)).await?);
        }
        let mut objects = vec![account("default"), account("kube-system")];
        for (index, kubelet) in kubelets.iter().enumerate() {
            let node = cluster.node(index);
            let status = kubelet.status(&node.ipv4().to_string());
            objects.push(json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": { "name": node.name() }, "status": status,
            }));
            let name = format!("weir-{}", node.name());
            objects.push(agent(&name, node.name()));
        }
        let all = [&server, &pods[0], &pods[1]];
        objects.extend(all.map(|pod| object("default", pod.name(), pod.node().name(), pod)));
        apply(&plane, &objects).await?;
        let [client, friend] = pods;
        Ok(Self {
            plane,
            kubelets,
            pods: [server, client, friend],
            cluster,
        })
    }

    /// What `proxyctl` says elsewhere than on a node.
    async fn why(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(program("proxyctl").unwrap());
        command.args(["policy", "why", "--all-nodes", "--kubeconfig"]);
        command.arg(self.plane.kubeconfig()).args(words);
        said(command).await
    }
}

async fn said(mut command: Command) -> (i32, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    (code, text(&output.stdout), text(&output.stderr))
}

/// What runs in the agent's container on a node.
async fn kubelet(node: &Node) -> Result<Kubelet> {
    let node = node.clone();
    let exec = move |pod: &str, words: &[String]| -> Result<Output> {
        assert_eq!(pod, format!("weir-{}", node.name()));
        assert_eq!(words[0], "/usr/bin/proxyctl");
        let mut command = node.command(program("proxyctl")?)?;
        command.args(&words[1..]).output().context("run proxyctl")
    };
    Kubelet::start(exec).await
}

fn account(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "default", "namespace": namespace },
    })
}

fn agent(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "kube-system", "labels": {
            "app.kubernetes.io/name": "weir", "app.kubernetes.io/component": "agent",
        } },
        "spec": { "nodeName": node, "hostNetwork": true, "containers": [{ "name": "agent", "image": "weir" }] },
        "status": { "phase": "Running" },
    })
}

fn object(namespace: &str, name: &str, node: &str, pod: &Pod) -> Value {
    let ips = pod.addresses();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "nodeName": node, "containers": [{ "name": "c", "image": "i" }] },
        "status": {
            "phase": "Running", "podIP": ips[0], "podIPs": [{ "ip": ips[0] }, { "ip": ips[1] }],
        },
    })
}

/// Makes objects with their status, which the API server takes apart.
async fn apply(plane: &ControlPlane, objects: &[Value]) -> Result<()> {
    let text: Vec<_> = objects.iter().map(ToString::to_string).collect();
    plane.apply(&text.join("\n---\n")).await?;
    let client = plane.client().await?;
    for object in objects.iter().filter(|object| !object["status"].is_null()) {
        let (name, namespace) = (
            &object["metadata"]["name"],
            &object["metadata"]["namespace"],
        );
        let name = name.as_str().context("no name")?;
        let path = match namespace.as_str() {
            Some(namespace) => format!("/api/v1/namespaces/{namespace}/pods/{name}/status"),
            None => format!("/api/v1/nodes/{name}/status"),
        };
        let body = json!({ "status": object["status"] }).to_string();
        let patch = http::Request::patch(path)
            .header("content-type", "application/merge-patch+json")
            .body(body.into_bytes())?;
        client.request::<Value>(patch).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_nodes_of_a_flow_are_asked() -> Result<()> {
    let mut stage = Stage::set().await?;
    for (to, port) in [("default/server", "8080"), ("default/web", "80")] {
        let (code, text, told) = stage.why(&["default/client", to, port]).await;
        assert_eq!((code, told.as_str()), (1, ""), "{text}{told}");
        assert!(
            text.contains(" on node a: the pod is isolated and no rule allows this peer")
                && text.contains(" on node b: no policy isolates the pod for egress")
                && text.contains("    isolated by default/closed\n")
                && text.ends_with("\nDENIED\n"),
            "{text}"
        );
        let (code, text, told) = stage.why(&["default/friend", to, port]).await;
        assert_eq!(code, 0, "{text}{told}");
        assert!(
            text.contains("rule default/closed ingress[0] allows every port")
                && text.ends_with("\nALLOWED\n"),
            "{text}"
        );
    }
    by_addresses_and_for_programs(&stage).await;
    errors_of_other_nodes_are_told(&stage).await;
    rights_are_those_of_whoever_asks(&stage).await;
    // A node that cannot be asked leaves its side open.
    stage.kubelets.remove(0);
    let (code, text, told) = stage
        .why(&["default/friend", "default/server", "8080"])
        .await;
    assert_eq!(code, 5, "{text}{told}");
    assert!(
        text.contains("node a was not asked: ") && text.contains("\nUNDECIDED: "),
        "{text}"
    );
    assert!(!text.contains("or with --all-nodes"), "{text}");
    Ok(())
}

async fn by_addresses_and_for_programs(stage: &Stage) {
    let ips: Vec<_> = stage.pods.iter().map(Pod::addresses).collect();
    for family in [0, 1] {
        let (from, to) = (ips[1][family].to_string(), ips[0][family].to_string());
        let (code, text, told) = stage.why(&[&from, &to, "8080/udp", "-o", "json"]).await;
        assert_eq!(code, 1, "{text}{told}");
        let why: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&why["kind"], &why["verdict"]),
            (&json!("PolicyWhy"), &json!("denied"))
        );
        let steps = &why["paths"][0]["steps"];
        let nodes = (&steps[0]["node"], &steps[1]["node"]);
        assert_eq!(nodes, (&json!("b"), &json!("a")), "{why}");
    }
    // From a node, which no policy is about.
    let node = stage.cluster.node(1).ipv4().to_string();
    let server = ips[0][0].to_string();
    let (code, text, told) = stage.why(&[&node, &server, "8080"]).await;
    assert_eq!(code, 1, "{text}{told}");
}

async fn errors_of_other_nodes_are_told(stage: &Stage) {
    let words = ["default/client", "service/default/web", "81"];
    let (code, text, told) = stage.why(&words).await;
    assert_eq!((code, text.as_str()), (3, ""), "{told}");
    assert_eq!(
        told,
        "error: node b: Service default/web has no port 81/TCP\nhint: its ports are 80/TCP, 80/UDP\n"
    );
}

async fn rights_are_those_of_whoever_asks(stage: &Stage) {
    let kubeconfig = stage.plane.limited_kubeconfig().unwrap();
    let limited = || {
        let mut command = Command::new(program("proxyctl").unwrap());
        command.args(["policy", "why", "--all-nodes", "--kubeconfig"]);
        command
            .arg(&kubeconfig)
            .args(["default/client", "default/server", "8080"]);
        command
    };
    let hint = "hint: --all-nodes needs get and list of pods and nodes, and get and create of pods/exec in kube-system";
    let (code, text, told) = said(limited()).await;
    assert_eq!((code, text.as_str()), (3, ""), "{told}");
    assert!(told.contains(hint), "{told}");
    // Who may see pods may not yet run anything in them.
    let rights = json!([
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": "see" },
            "rules": [{ "apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list"] }],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": "see" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "see" },
            "subjects": [{ "kind": "User", "name": "limited", "apiGroup": "rbac.authorization.k8s.io" }],
        },
    ]);
    let rights = rights.as_array().unwrap();
    apply(&stage.plane, rights).await.unwrap();
    let (code, text, told) = said(limited()).await;
    assert_eq!((code, text.as_str()), (3, ""), "{told}");
    assert!(told.contains(hint), "{told}");
}
