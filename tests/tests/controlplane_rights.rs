//! What the manifests in `deploy/` let an agent do, by a token as the kubelet gives it.

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Node, Pod, ServiceAccount},
};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};
use weir_tests::controlplane::ControlPlane;

const NAMESPACE: &str = "kube-system";

/// A client with the token of a Pod of the agent on node `a`.
async fn agent(plane: &ControlPlane, client: &Client) -> Result<Client> {
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let pod = json!({
        "metadata": { "name": "weir-a" },
        "spec": {
            "nodeName": "a",
            "serviceAccountName": "weir",
            "containers": [{ "name": "agent", "image": "none" }],
        },
    });
    let pod = pods
        .create(&PostParams::default(), &serde_json::from_value(pod)?)
        .await?;
    let request = TokenRequest {
        spec: TokenRequestSpec {
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some("weir-a".to_owned()),
                uid: pod.metadata.uid,
            }),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), NAMESPACE);
    let answer = accounts
        .create_token_request("weir", &PostParams::default(), &request)
        .await?;
    let token = answer.status.context("no token")?.token;
    let read = Kubeconfig::read_from(plane.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    config.auth_info.token = Some(token.into());
    Client::try_from(config).context("make a client")
}

async fn patch(nodes: &Api<Node>, node: &str, patch: &Value) -> kube::Result<()> {
    let patch = Patch::Merge(patch);
    nodes
        .patch_status(node, &PatchParams::default(), &patch)
        .await
        .map(drop)
}

/// Changes what is not the status.
async fn patch_rest(nodes: &Api<Node>, node: &str, patch: &Value) -> kube::Result<()> {
    let patch = Patch::Merge(patch);
    let params = PatchParams::default();
    nodes.patch(node, &params, &patch).await.map(drop)
}

/// Policies are in force some time after they are made.
async fn refused(nodes: &Api<Node>, node: &str, change: &Value, why: &str) -> Result<()> {
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        match patch(nodes, node, change).await {
            Err(kube::Error::Api(status)) if status.message.contains(why) => return Ok(()),
            Err(error) => bail!("{error}, not {why}"),
            Ok(()) => ensure!(Instant::now() < end, "{change} of {node} is let through"),
        }
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_changes_the_status_of_its_own_node_alone() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    for file in ["rbac.yaml", "own-node.yaml"] {
        plane.deploy(file).await?;
    }
    plane
        .apply(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: weir, namespace: kube-system }\n\
             ---\napiVersion: v1\nkind: Node\nmetadata: { name: a }\n\
             ---\napiVersion: v1\nkind: Node\nmetadata: { name: b }\n",
        )
        .await?;
    let nodes = Api::<Node>::all(agent(&plane, &client).await?);
    let change = json!({
        "metadata": { "annotations": { "weir.dev/pod-ranges": "10.244.0.0/24" } },
        "status": { "conditions": [{ "type": "NetworkUnavailable", "status": "False" }] },
    });
    refused(
        &nodes,
        "b",
        &change,
        "the agent of node a may not change node b",
    )
    .await?;
    patch(&nodes, "a", &change).await.context("its own node")?;
    let labels = json!({ "metadata": { "labels": { "trusted": "yes" } } });
    refused(&nodes, "a", &labels, "an agent may not change labels").await?;
    let address =
        json!({ "status": { "addresses": [{ "type": "InternalIP", "address": "192.0.2.1" }] } });
    refused(&nodes, "a", &address, "an agent may not change addresses").await?;
    takes_one_taint(&nodes, &Api::all(client.clone())).await?;
    // Kubelets and others are left alone.
    let all = Api::<Node>::all(client);
    patch(&all, "b", &change).await?;
    patch(&all, "a", &labels).await?;
    let annotations = all.get("a").await?.metadata.annotations.unwrap_or_default();
    ensure!(
        annotations
            .get("weir.dev/pod-ranges")
            .is_some_and(|r| r == "10.244.0.0/24")
    );
    Ok(())
}

/// Of its own node, and nothing else beside the status.
async fn takes_one_taint(nodes: &Api<Node>, admin: &Api<Node>) -> Result<()> {
    let [ours, other] = ["weir.dev/agent-not-ready", "other"]
        .map(|key| json!({ "key": key, "effect": "NoSchedule" }));
    let spec = |taints: &[&Value]| json!({ "spec": { "taints": taints } });
    for node in ["a", "b"] {
        patch_rest(admin, node, &spec(&[&other, &ours])).await?;
    }
    let denied =
        async |node: &str, change: &Value, why: &str| match patch_rest(nodes, node, change).await {
            Err(kube::Error::Api(status)) if status.message.contains(why) => Ok(()),
            result => bail!("{change} of {node}: {result:?}, not {why}"),
        };
    let taint = "an agent may change no taint but take weir.dev/agent-not-ready away";
    let more = json!({ "key": "new", "effect": "NoExecute" });
    for (node, taints, why) in [
        (
            "b",
            vec![&other],
            "the agent of node a may not change node b",
        ),
        ("a", vec![&ours], taint),
        ("a", vec![], taint),
        ("a", vec![&other, &more], taint),
        ("a", vec![&other, &ours, &more], taint),
    ] {
        denied(node, &spec(&taints), why).await?;
    }
    let (of_spec, of_metadata) = ("a Node's spec", "a Node's metadata");
    for (part, field, value, why) in [
        ("spec", "unschedulable", json!(true), of_spec),
        ("spec", "podCIDRs", json!(["10.9.0.0/24"]), of_spec),
        ("spec", "providerID", json!("x://y"), of_spec),
        (
            "metadata",
            "annotations",
            json!({ "trusted": "yes" }),
            of_metadata,
        ),
        ("metadata", "finalizers", json!(["weir.dev/x"]), of_metadata),
        (
            "metadata",
            "labels",
            json!({ "trusted": "yes" }),
            "may not change labels",
        ),
    ] {
        let mut change = spec(&[&other]);
        change[part][field] = value;
        denied("a", &change, why).await?;
    }
    patch_rest(nodes, "a", &spec(&[&other]))
        .await
        .context("its own taint")?;
    // It gives none.
    denied("a", &spec(&[&other, &ours]), taint).await
}
