//! Who tells what all nodes find alike: two agents on one control plane.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::{
    core::v1::{Node as ApiNode, Service},
    events::v1::Event,
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use nix::sched::{CloneFlags, setns};
use serde_json::json;
use tokio::time::{Instant, sleep};
use weir_tests::{
    controlplane::{ControlPlane, Proxy},
    watched::{PATIENCE, start_agent},
    world::{Node, World},
};

const OTHER: &str = r"
apiVersion: v1
kind: Node
metadata: { name: b }
";

/// Far more than a look takes at what stands.
const QUIET: Duration = Duration::from_secs(10);

#[test]
fn one_of_two_agents_tells_what_both_find() -> Result<()> {
    let world = World::new("agent-events")?;
    let nodes = [world.node("a")?, world.node("b")?];
    let socket = world.outside().listen(([172, 30, 0, 1], 6443).into())?;
    setns(nodes[0].netns(), CloneFlags::CLONE_NEWNET)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let plane = ControlPlane::start().await?;
        let proxy = Proxy::listen(&plane, socket).await?;
        let result = told(&plane, &proxy, &nodes).await;
        let logs = nodes.iter().map(|node| {
            let log = fs::read_to_string(node.file("/run/agent.log")).unwrap_or_default();
            format!("log of the agent of {}:\n{log}\n", node.name())
        });
        result.with_context(|| logs.collect::<String>())
    })
}

async fn told(plane: &ControlPlane, proxy: &Proxy, nodes: &[Node; 2]) -> Result<()> {
    let kubeconfig = plane.agents_kubeconfig().await?;
    plane.apply(OTHER).await?;
    let kubeconfig = kubeconfig.to_str().context("a path")?;
    let url = proxy.url();
    let flags = ["--kubeconfig", kubeconfig, "--api-server", &url];
    let flags = [&flags[..], &["--cni-install", "false"]].concat();
    let _agents = [
        start_agent(&nodes[0], plane, &flags)?,
        start_agent(&nodes[1], plane, &flags)?,
    ];
    let api = Api::<ApiNode>::all(plane.client().await?);
    for node in nodes {
        up(&api, node.name()).await?;
    }
    let services = Api::<Service>::default_namespaced(plane.client().await?);
    let service = |name: &str| {
        let spec = json!({ "ports": [{ "port": 80 }], "externalIPs": ["192.0.2.99"] });
        serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec }))
    };
    let params = PostParams::default();
    services.create(&params, &service("first")?).await?;
    // The API server counts in seconds.
    sleep(Duration::from_millis(1100)).await;
    services.create(&params, &service("second")?).await?;
    let told = events(plane, 1).await?;
    sleep(QUIET).await;
    let [teller] = &events(plane, 1).await?[..] else {
        bail!("both tell: {told:?}");
    };
    let teller = teller
        .reporting_instance
        .clone()
        .context("told by nobody")?;

    // When that node's kubelet is gone the other one tells.
    let condition = json!({ "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown" });
    let patch = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
    api.patch_status(&teller, &PatchParams::default(), &patch)
        .await?;
    let all = events(plane, 2).await?;
    let by = |node: &str| {
        let by = all.iter().map(|event| event.reporting_instance.as_deref());
        by.filter(|by| *by == Some(node)).count()
    };
    ensure!((by("a"), by("b")) == (1, 1), "{all:?}");
    Ok(())
}

/// Waits until the agent of a node says that pods have a network.
async fn up(nodes: &Api<ApiNode>, name: &str) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = nodes.get(name).await?.status;
        let conditions = status.and_then(|s| s.conditions).unwrap_or_default();
        let mut reasons = conditions.iter().map(|c| c.reason.as_deref());
        if reasons.any(|reason| reason == Some("WeirIsUp")) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{name}: {conditions:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// The Events of the clash, once there are so many.
async fn events(plane: &ControlPlane, count: usize) -> Result<Vec<Event>> {
    let events = Api::<Event>::all(plane.client().await?);
    let end = Instant::now() + PATIENCE;
    loop {
        let mut all = events.list(&ListParams::default()).await?.items;
        all.retain(|event| event.reason.as_deref() == Some("AddressConflict"));
        if all.len() >= count {
            return Ok(all);
        }
        ensure!(Instant::now() < end, "{} of {count} Events", all.len());
        sleep(Duration::from_millis(100)).await;
    }
}
