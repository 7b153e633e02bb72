//! What the agent tells a real API server about its node.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node as ApiNode, NodeCondition};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use weir_tests::{
    controlplane::ControlPlane,
    watched::{PATIENCE, on_a_node, start_agent},
    world::{Node, SERVICE_CIDRS, until},
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
    let search = async {
        loop {
            let mut conditions = conditions(nodes).await?.into_iter();
            let found = conditions.find(|c| c.type_ == "NetworkUnavailable" && c.status == "False");
            if let Some(found) = found {
                return anyhow::Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, search)
        .await
        .context("NetworkUnavailable never became False")?
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
