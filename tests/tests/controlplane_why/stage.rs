//! Two nodes with agents, and what a real API server knows of them.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use weir_tests::{
    controlplane::{ControlPlane, Exec, Kubelet},
    world::{Cluster, Node, Pod, program},
};

/// Two nodes with agents, a server on one of them that lets only friends in, and the API server's view of it.
pub(crate) struct Stage {
    pub(crate) plane: ControlPlane,
    pub(crate) kubelets: Vec<Kubelet>,
    pub(crate) pods: [Pod; 3],
    pub(crate) cluster: Cluster,
}

impl Stage {
    pub(crate) async fn set() -> Result<Self> {
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
        let plane = ControlPlane::with_controllers().await?;
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
    pub(crate) async fn why(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(program("proxyctl").unwrap());
        command.args(["policy", "why", "--all-nodes", "--kubeconfig"]);
        command.arg(self.plane.kubeconfig()).args(words);
        said(command).await
    }
}

/// Exit code, standard output and error.
pub(crate) async fn said(mut command: Command) -> (i32, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    (code, text(&output.stdout), text(&output.stderr))
}

/// What runs in the agent's container on a node.
async fn kubelet(node: &Node) -> Result<Kubelet> {
    let node = node.clone();
    let run = move |exec: &Exec| -> Result<Output> {
        assert_eq!(exec.pod, format!("weir-{}", node.name()));
        assert_eq!(exec.words[0], "/usr/bin/proxyctl");
        let mut command = node.command(program("proxyctl")?)?;
        command.args(&exec.words[1..]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("run proxyctl")?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), &exec.input) {
            stdin.write_all(input)?;
        }
        child.wait_with_output().context("wait for proxyctl")
    };
    Kubelet::start(run).await
}

fn account(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "default", "namespace": namespace },
    })
}

pub(crate) fn agent(name: &str, node: &str) -> Value {
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
pub(crate) async fn apply(plane: &ControlPlane, objects: &[Value]) -> Result<()> {
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
