//! What the agent tells a real API server about its node.

use std::{fs::File, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node as ApiNode, NodeCondition};
use kube::api::{Api, Patch, PatchParams};
use nix::sched::{CloneFlags, setns};
use serde_json::json;
use weir_tests::{
    controlplane::ControlPlane,
    world::{Node, Process, SERVICE_CIDRS, World, program},
};

const PATIENCE: Duration = Duration::from_mins(1);
const OBJECTS: &str = r"
apiVersion: v1
kind: Node
metadata: { name: a }
";

fn start_agent(node: &Node, plane: &ControlPlane) -> Result<Process> {
    let log = File::create(node.file("/run/agent.log"))?;
    let mut command = node.command(program("proxy-agent")?)?;
    let addresses = node.addresses().map(|ip| ip.to_string());
    command
        .args(["--node-name", node.name()])
        .args(["--node-address", &addresses.join(",")])
        .args(["--pod-cidr", &node.pod_ranges().join(",")])
        .args(["--service-cidr", SERVICE_CIDRS, "--uplink", "eth0"])
        .args(["--map-size", "small", "--log-format", "text"])
        .args(["--cni-install", "false", "--kubeconfig"])
        .arg(plane.kubeconfig())
        .arg("--cgroup-root")
        .arg(node.cgroup_root().path())
        .stdout(log.try_clone()?)
        .stderr(log);
    Process::start(command)
}

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
fn the_network_is_said_to_be_available_when_it_is() {
    let world = World::new("agent-condition").unwrap();
    let node = world.node("a").unwrap();
    // The API server lives on the node: nothing touches the machine's own network.
    setns(node.netns(), CloneFlags::CLONE_NEWNET).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let log = || std::fs::read_to_string(node.file("/run/agent.log")).unwrap_or_default();
    let result = runtime.block_on(scenario(&node));
    result.unwrap_or_else(|error| panic!("{error:?}\nlog of the agent:\n{}", log()));
}

async fn scenario(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.apply(OBJECTS).await?;
    let nodes = Api::<ApiNode>::all(plane.client().await?);
    set(&nodes, "NetworkUnavailable", "True").await?;
    set(&nodes, "Ready", "True").await?;
    let agent = start_agent(node, &plane)?;
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
