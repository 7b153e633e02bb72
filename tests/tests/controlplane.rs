//! The real control plane itself: what every test that watches the API stands on.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::json;
use weir_tests::controlplane::ControlPlane;

const OBJECTS: &str = r"
apiVersion: v1
kind: Node
metadata: { name: n1 }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: default, namespace: default }
---
apiVersion: v1
kind: Pod
metadata: { name: web, labels: { app: web } }
spec:
  nodeName: n1
  containers: [{ name: web, image: web }]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  selector: { app: web }
  ports: [{ port: 80 }]
";

/// The first object that a watch shows and `wanted` accepts.
async fn eventually<K>(api: Api<K>, what: &str, wanted: impl Fn(&K) -> bool) -> Result<K>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut events = api.watch(&WatchParams::default(), "0").await?.boxed();
    let search = async {
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event
                && wanted(&object)
            {
                return Ok(object);
            }
        }
        anyhow::bail!("the watch ended before {what}")
    };
    tokio::time::timeout(Duration::from_mins(1), search)
        .await
        .with_context(|| format!("waited for {what}"))?
}

#[tokio::test]
async fn controllers_give_cidrs_and_endpoint_slices() -> Result<()> {
    let plane = ControlPlane::with_controllers().await?;
    plane.apply(OBJECTS).await?;
    let client = plane.client().await?;

    let node = eventually(Api::<Node>::all(client.clone()), "podCIDRs", |node| {
        node.spec.as_ref().is_some_and(|spec| {
            spec.pod_cidrs
                .as_ref()
                .is_some_and(|cidrs| cidrs.len() == 2)
        })
    });
    let cidrs = node
        .await?
        .spec
        .and_then(|spec| spec.pod_cidrs)
        .unwrap_or_default();
    assert!(
        cidrs[0].starts_with("10.244.") && cidrs[1].starts_with("fd00:10:244:"),
        "{cidrs:?}"
    );

    let running = json!({ "status": {
        "phase": "Running",
        "podIP": "10.244.0.7",
        "podIPs": [{ "ip": "10.244.0.7" }],
        "conditions": [{ "type": "Ready", "status": "True" }],
    }});
    let pods = Api::<Pod>::namespaced(client.clone(), "default");
    pods.patch_status("web", &PatchParams::default(), &Patch::Merge(running))
        .await?;
    let slices = Api::<EndpointSlice>::namespaced(client, "default");
    let slice = eventually(slices, "an endpoint", |slice| {
        slice.endpoints.iter().any(|it| !it.addresses.is_empty())
    });
    assert_eq!(slice.await?.endpoints[0].addresses, ["10.244.0.7"]);
    Ok(())
}

#[tokio::test]
async fn objects_outlive_a_restart_of_the_api_server() -> Result<()> {
    let mut plane = ControlPlane::start().await?;
    plane
        .apply("{ apiVersion: v1, kind: Node, metadata: { name: n1 } }")
        .await?;
    plane.stop_apiserver();
    let nodes = Api::<Node>::all(plane.client().await?);
    assert!(
        nodes.get("n1").await.is_err(),
        "a killed API server answered"
    );
    plane.start_apiserver().await?;
    assert_eq!(nodes.get("n1").await?.metadata.name.as_deref(), Some("n1"));
    Ok(())
}
