//! What is told of pods.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod as ApiPod;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use weir_tests::{
    watched::on_a_node,
    world::{Plugin, Pod},
};

use super::stage::{Stage, note};

const INSTALLED_BY_HAND: [&str; 2] = ["--cni-install", "false"];

/// A pod of the API server that has a `hostPort`, wired.
async fn pod(stage: &Stage<'_>, name: &str, port: u16) -> Result<Pod> {
    let pods = Api::<ApiPod>::default_namespaced(stage.plane.client().await?);
    let ports = json!([{ "containerPort": 8080, "hostPort": port }]);
    let object = json!({
        "metadata": { "name": name },
        "spec": {
            "nodeName": stage.node.name(),
            "containers": [{ "name": "main", "image": "none", "ports": ports }],
        },
    });
    let object = serde_json::from_value(object)?;
    let made = pods.create(&PostParams::default(), &object).await?;
    let plugin = Plugin::weir()?.with_uid(made.metadata.uid.context("no UID")?);
    stage.node.pod(&plugin, name)
}

#[test]
fn pods_are_told_whose_their_host_ports_are() -> Result<()> {
    on_a_node("svc-pods", async |node| {
        let stage = Stage::set(node, &INSTALLED_BY_HAND).await?;
        let spec = json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30_080 }] });
        stage.service("web", spec).await?;
        stage.until_served(&["default/web", "NodePort", "30080"])?;
        let _beside = pod(&stage, "beside", 30_080).await?;
        let event = stage.event("beside", "AddressConflict").await?;
        let words = "node:30080/TCP belongs to default/web already";
        ensure!(note(&event).contains(words), "{event:?}");
        let about = event.regarding.clone().context("about nothing")?;
        ensure!(about.kind.as_deref() == Some("Pod"), "{event:?}");
        ensure!(about.namespace.as_deref() == Some("default"), "{event:?}");

        let _first = pod(&stage, "first", 8000).await?;
        let second = pod(&stage, "second", 8000).await?;
        let event = stage.event("first", "AddressConflict").await?;
        let words = "node:8000/TCP belongs to pod/default/second now";
        ensure!(note(&event).contains(words), "{event:?}");
        // Told anew only if it has ended meanwhile.
        drop(second);
        stage.until_served(&["pod/default/first", "8000"])?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let _third = pod(&stage, "third", 8000).await?;
        let events = stage.events("first", "AddressConflict", 2).await?;
        let words = "belongs to pod/default/third now";
        ensure!(
            events.iter().any(|event| note(event).contains(words)),
            "{events:?}"
        );
        Ok(())
    })
}

#[test]
fn pods_are_told_of_limits_that_cannot_be() -> Result<()> {
    on_a_node("svc-bandwidth", async |node| {
        let stage = Stage::set(node, &INSTALLED_BY_HAND).await?;
        let _pod = pod(&stage, "limited", 8000).await?;
        // Of a new pod it would be the runtime that is told.
        let annotations = json!({ "kubernetes.io/ingress-bandwidth": "fast" });
        let change = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        let pods = Api::<ApiPod>::default_namespaced(stage.plane.client().await?);
        pods.patch("limited", &PatchParams::default(), &change)
            .await?;
        let event = stage.event("limited", "InvalidBandwidth").await?;
        ensure!(note(&event).contains("fast"), "{event:?}");
        let about = event.regarding.clone().context("about nothing")?;
        ensure!(about.kind.as_deref() == Some("Pod"), "{event:?}");
        Ok(())
    })
}
