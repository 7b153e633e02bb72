//! What the agent tells a real API server about its node.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node as ApiNode, NodeCondition, Taint};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use weir_tests::{
    controlplane::ControlPlane,
    watched::{PATIENCE, on_a_node, ready, start_agent},
    world::{Node, SERVICE_CIDRS, program, until},
};

const OBJECTS: &str = r"
apiVersion: v1
kind: Node
metadata: { name: a }
";

/// Sets a condition as a kubelet does.
async fn set(nodes: &Api<ApiNode>, kind: &str, status: &str) -> Result<()> {
    let condition = json!({ "type": kind, "status": status, "reason": "Test", "message": "test" });
    let patch = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
    nodes
        .patch_status("a", &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

async fn conditions(nodes: &Api<ApiNode>) -> Result<Vec<NodeCondition>> {
    let status = nodes.get("a").await?.status;
    Ok(status.and_then(|s| s.conditions).unwrap_or_default())
}

async fn available(nodes: &Api<ApiNode>) -> Result<NodeCondition> {
    network(nodes, "False").await
}

/// The condition, once it has this status.
async fn network(nodes: &Api<ApiNode>, status: &str) -> Result<NodeCondition> {
    let search = async {
        loop {
            let mut conditions = conditions(nodes).await?.into_iter();
            let found = conditions.find(|c| c.type_ == "NetworkUnavailable" && c.status == status);
            if let Some(found) = found {
                return anyhow::Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, search)
        .await
        .with_context(|| format!("NetworkUnavailable never became {status}"))?
}

#[test]
fn the_network_is_said_to_be_available_when_it_is() -> Result<()> {
    on_a_node("agent-condition", scenario)
}

async fn scenario(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.apply(OBJECTS).await?;
    let nodes = Api::<ApiNode>::all(plane.client().await?);
    set(&nodes, "NetworkUnavailable", "True").await?;
    set(&nodes, "Ready", "True").await?;
    let agent = start_agent(node, &plane, &["--cni-install", "false"])?;
    let condition = available(&nodes).await?;
    ensure!(condition.reason.as_deref() == Some("WeirIsUp"));
    ensure!(condition.last_transition_time.is_some());
    let others = conditions(&nodes).await?;
    let ready = others.iter().find(|c| c.type_ == "Ready");
    ensure!(ready.is_some_and(|c| c.reason.as_deref() == Some("Test")));

    // A kubelet that starts again says True again.
    set(&nodes, "NetworkUnavailable", "True").await?;
    available(&nodes).await?;
    agent.terminate().map(drop)
}

const OURS: &str = "weir.dev/agent-not-ready";
const CONF_DIR: &str = "/run/cni/net.d";

async fn taints(nodes: &Api<ApiNode>) -> Result<Vec<Taint>> {
    let spec = nodes.get("a").await?.spec.unwrap_or_default();
    Ok(spec.taints.unwrap_or_default())
}

#[test]
fn schedulers_are_told_whether_pods_have_a_network() -> Result<()> {
    on_a_node("agent-schedulers", schedulers)
}

/// With another plugin's configuration first, without it, and after Weir.
async fn schedulers(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.agents_rights().await?;
    let tainted = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": "a" },
        "spec": { "taints": [
            { "key": "other", "value": "x", "effect": "NoSchedule" },
            { "key": OURS, "effect": "NoSchedule" },
            { "key": OURS, "effect": "NoExecute" },
        ] },
    });
    plane.apply(&tainted.to_string()).await?;
    let nodes = Api::<ApiNode>::all(plane.client().await?);
    let kubeconfig = plane.limited_kubeconfig()?;
    let kubeconfig = kubeconfig.to_str().context("a path")?;
    let plugin = program("cni-plugin")?;
    let flags = [
        ["--kubeconfig", kubeconfig],
        ["--cni-install", "true"],
        ["--cni-plugin", plugin.to_str().context("a path")?],
        ["--cni-bin-dir", "/run/cni/bin"],
        ["--cni-conf-dir", CONF_DIR],
    ]
    .concat();
    let folder = node.file(CONF_DIR);
    fs::create_dir_all(&folder)?;
    let rival = folder.join("00-other.conflist");
    fs::write(&rival, "{}")?;
    let agent = start_agent(node, &plane, &flags)?;
    ready(node)?;
    let condition = network(&nodes, "True").await?;
    ensure!(condition.reason.as_deref() == Some("WeirIsNotFirst"));
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("00-other.conflist"), "{message}");
    // The API server has given some, too.
    let (ours, others): (Vec<_>, Vec<_>) = taints(&nodes)
        .await?
        .into_iter()
        .partition(|taint| taint.key == OURS);
    ensure!(ours.len() == 2, "the node is not Weir's yet: {ours:?}");
    ensure!(
        others.iter().any(|taint| taint.key == "other"),
        "{others:?}"
    );

    fs::remove_file(&rival)?;
    let condition = available(&nodes).await?;
    ensure!(condition.reason.as_deref() == Some("WeirIsUp"));
    let mut left = taints(&nodes).await?;
    let end = tokio::time::Instant::now() + PATIENCE;
    while left != others {
        ensure!(tokio::time::Instant::now() < end, "{left:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        left = taints(&nodes).await?;
    }

    // The agent that starts again has nothing to say.
    agent.terminate()?;
    let before = available(&nodes).await?;
    let agent = start_agent(node, &plane, &flags)?;
    ready(node)?;
    agent.terminate()?;
    ensure!(available(&nodes).await? == before, "{before:?}");

    let cleanup = || -> Result<()> {
        let agent = program("proxy-agent")?;
        let agent = agent.to_str().context("a path")?;
        let words = [agent, "cleanup", "--node-name", "a"];
        let more = ["--kubeconfig", kubeconfig, "--cni-conf-dir", CONF_DIR];
        node.run(&[&words[..], &more].concat()).map(drop)
    };
    cleanup()?;
    let condition = network(&nodes, "True").await?;
    ensure!(condition.reason.as_deref() == Some("WeirIsGone"));
    // The next plugin speaks for itself.
    fs::write(folder.join("10-next.conflist"), "{}")?;
    cleanup()?;
    let said = conditions(&nodes).await?;
    let ours = said.iter().find(|c| c.type_ == "NetworkUnavailable");
    ensure!(ours.is_none(), "{ours:?}");
    Ok(())
}

#[test]
fn the_host_is_led_to_services_by_the_ranges_that_the_api_server_names() -> Result<()> {
    on_a_node("agent-ranges", ranges)
}

async fn ranges(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.apply(OBJECTS).await?;
    let agent = start_agent(node, &plane, &["--cni-install", "false"])?;
    for (family, range) in ["-4", "-6"].into_iter().zip(SERVICE_CIDRS.split(',')) {
        until(&format!("a route to {range}"), PATIENCE, || {
            let routes = node.run(&["ip", family, "route", "show", "proto", "89"])?;
            let there = |route: &str| route.starts_with(range) && route.contains("dev weir_host");
            Ok(routes.lines().any(there).then_some(()))
        })?;
    }
    agent.terminate().map(drop)
}
