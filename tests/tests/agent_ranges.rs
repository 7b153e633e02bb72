//! A node that claims its ranges of pods (`ipam: cluster`), from the API server to the pod: an agent as a process, with the
//! rights that `deploy/` gives.

use std::fs::File;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    core::v1::{Node as ApiNode, Pod as ApiPod},
    events::v1::Event,
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::{Instant, sleep};
use weir_tests::{
    controlplane::ControlPlane,
    watched::{PATIENCE, on_a_node, ready},
    world::{Node, Plugin, Pod, Process, program, until},
};

const OTHER: &str = r#"
apiVersion: v1
kind: Node
metadata:
  name: b
  annotations: { weir.dev/pod-ranges: "10.60.0.0/24,fd60::/64" }
"#;

fn agent(node: &Node, plane: &ControlPlane) -> Result<Process> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(node.file("/run/agent.log"))?;
    let addresses = node.addresses().map(|ip| ip.to_string()).join(",");
    let mut command = node.command(program("proxy-agent")?)?;
    command
        .args(["--node-name", node.name(), "--node-address", &addresses])
        .args(["--map-size", "small", "--log-format", "text"])
        .args([
            "--ipam",
            "cluster",
            "--cluster-pod-cidr",
            "10.60.0.0/16,fd60::/56",
        ])
        .args(["--cni-install", "true", "--cni-bin-dir", "/run/cni/bin"])
        .args(["--cni-conf-dir", "/run/cni/net.d", "--cni-plugin"])
        .arg(program("cni-plugin")?)
        .arg("--kubeconfig")
        .arg(plane.limited_kubeconfig()?)
        .arg("--cgroup-root")
        .arg(node.cgroup_root().path())
        .stdout(log.try_clone()?)
        .stderr(log);
    Process::start(command)
}

async fn pod(plane: &ControlPlane, node: &Node, name: &str) -> Result<Pod> {
    let pods = Api::<ApiPod>::default_namespaced(plane.client().await?);
    let object = json!({
        "metadata": { "name": name },
        "spec": { "nodeName": node.name(), "containers": [{ "name": "main", "image": "none" }] },
    });
    let object = serde_json::from_value(object)?;
    let made = pods.create(&PostParams::default(), &object).await?;
    let plugin = Plugin::weir()?.with_uid(made.metadata.uid.context("no UID")?);
    node.pod(&plugin, name)
}

fn status(node: &Node) -> Result<String> {
    let output = node.command(program("proxyctl")?)?.arg("status").output()?;
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn a_node_claims_its_ranges_and_pods_get_addresses_of_them() -> Result<()> {
    on_a_node("agent-ranges", claims)
}

async fn claims(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.agents_kubeconfig().await?;
    plane.apply(OTHER).await?;
    let nodes = Api::<ApiNode>::all(plane.client().await?);
    let address = json!({ "status": { "addresses": [
        { "type": "InternalIP", "address": "172.30.0.12" },
        { "type": "InternalIP", "address": "fd30::c" },
    ] } });
    nodes
        .patch_status("b", &PatchParams::default(), &Patch::Merge(address))
        .await?;
    // Without the object no node is opened, and everybody is told.
    let running = agent(node, &plane)?;
    told(
        &plane,
        "PodRangesUnreadable",
        "there is no ConfigMap kube-system/weir-pod-ranges",
    )
    .await?;
    ensure!(
        !node.file("/run/weir/node.json").exists(),
        "opened without a range"
    );
    plane.deploy("pod-ranges.yaml").await?;
    ready(node)?;
    // Not what the other node says that it has.
    let served = pod(&plane, node, "web").await?;
    let inside = |range: &str| -> Result<bool> {
        let range: ipnetwork::IpNetwork = range.parse()?;
        Ok(served.at(1).iter().any(|at| range.contains(at.ip())))
    };
    ensure!(
        inside("10.60.1.0/24")? && inside("fd60:0:0:1::/64")?,
        "{:?}",
        served.at(1)
    );
    let annotations = nodes
        .get("a")
        .await?
        .metadata
        .annotations
        .unwrap_or_default();
    let said = annotations.get("weir.dev/pod-ranges").map(String::as_str);
    ensure!(
        said == Some("10.60.1.0/24,fd60:0:0:1::/64"),
        "{annotations:?}"
    );
    until("routes to the other node", PATIENCE, || {
        let routes = node.run(&["ip", "route", "show", "proto", "87"])?;
        Ok(routes
            .contains("10.60.0.0/24 via 172.30.0.12")
            .then_some(()))
    })?;
    let text = status(node)?;
    ensure!(
        text.contains("claimed 10.60.1.0/24, fd60:0:0:1::/64"),
        "{text}"
    );

    // A range that cannot be had: an Event, a line of the status, and pods go on.
    let wanted = json!({ "metadata": { "annotations": { "weir.dev/pod-cidrs": "10.60.0.0/24" } } });
    nodes
        .patch("a", &PatchParams::default(), &Patch::Merge(wanted))
        .await?;
    told(&plane, "PodRangeTaken", "10.60.0.0/24 is not free").await?;
    let text = status(node)?;
    ensure!(text.contains("10.60.0.0/24 is not free"), "{text}");
    drop(pod(&plane, node, "second").await?);

    // What another agent finds is what this one had.
    running.terminate()?;
    let wanted = json!({ "metadata": { "annotations": { "weir.dev/pod-cidrs": null } } });
    nodes
        .patch("a", &PatchParams::default(), &Patch::Merge(wanted))
        .await?;
    let running = agent(node, &plane)?;
    ready(node)?;
    until("the claim", PATIENCE, || {
        let text = status(node)?;
        Ok(text
            .contains("claimed 10.60.1.0/24, fd60:0:0:1::/64")
            .then_some(()))
    })?;
    drop(pod(&plane, node, "third").await?);
    drop(served);
    running.terminate().map(drop)
}

/// Waits for an Event of the Node.
async fn told(plane: &ControlPlane, reason: &str, words: &str) -> Result<()> {
    let events = Api::<Event>::all(plane.client().await?);
    let end = Instant::now() + PATIENCE;
    loop {
        let all = events.list(&ListParams::default()).await?.items;
        let is_it = |event: &Event| {
            let note = event.note.as_deref().unwrap_or_default();
            event.reason.as_deref() == Some(reason) && note.contains(words)
        };
        if all.iter().any(is_it) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "no Event {reason} with {words}");
        sleep(std::time::Duration::from_millis(100)).await;
    }
}
