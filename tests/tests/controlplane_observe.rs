//! The observer against a real API server: what is created, changed and deleted there arrives in the model.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    core::v1::{Namespace, Node, Pod, Service},
    discovery::v1::EndpointSlice,
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use proxy_agent::{
    model::{Dirty, Kind, ObjectName, Snapshot},
    service::{MemoryMaps, ServiceSync, render::services},
};
use serde_json::json;
use weir_tests::controlplane::{ControlPlane, Observer};

/// The node that observes.
const NODE: &str = "here";
/// Far beyond what any change takes.
const PATIENCE: Duration = Duration::from_mins(1);

fn web() -> ObjectName {
    ObjectName::new("default", "web")
}

async fn create_web(client: &Client) -> Result<()> {
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"clusterIP": "10.96.0.80", "ports": [{"name": "http", "port": 80}]}
    });
    services
        .create(&PostParams::default(), &serde_json::from_value(service)?)
        .await?;
    let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    slices
        .create(&PostParams::default(), &slice(&["10.0.0.1", "10.0.0.2"])?)
        .await?;
    Ok(())
}

fn slice(addresses: &[&str]) -> Result<EndpointSlice> {
    let endpoints = addresses
        .iter()
        .map(|a| json!({"addresses": [a], "conditions": {"ready": true}}));
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints.collect::<Vec<_>>()
    });
    Ok(serde_json::from_value(slice)?)
}

fn endpoints(snapshot: &Snapshot) -> usize {
    let slices = snapshot.slices.get(&web()).into_iter().flatten();
    slices.map(|s| s.endpoints.len()).sum()
}

/// From the API server to the maps.
async fn reaches_the_maps(observer: &Observer) -> Result<()> {
    let maps = MemoryMaps::new(1024, 1, 10);
    let mut sync = ServiceSync::new(maps.tables(), NODE)?;
    for _ in 0..1000 {
        let report = sync.sync(&observer.store.read(), &Dirty::default());
        let Some(after) = report.again_after else {
            break;
        };
        tokio::time::sleep(after).await;
    }
    let rows = services::rows(&maps.tables(), &sync.names())?;
    let row = rows
        .iter()
        .find(|r| r.service == "default/web:http")
        .context("no row")?;
    assert_eq!(row.frontend, "10.96.0.80:80/TCP");
    assert_eq!(row.internal.backends, ["10.0.0.1:8080", "10.0.0.2:8080"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn services_and_slices_arrive_and_go() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let mut observer = Observer::of(&plane).await?;
    observer
        .until("all lists", |s| s.complete.has(&Kind::ALL))
        .await?;
    // The API server makes its own Service some time after it is ready.
    let kubernetes = ObjectName::new("default", "kubernetes");
    observer
        .until("kubernetes", |s| s.services.contains_key(&kubernetes))
        .await?;

    create_web(&client).await?;
    let dirty = observer
        .until("web", |s| {
            s.services.contains_key(&web()) && endpoints(s) == 2
        })
        .await?;
    assert!(dirty.services.contains_key(&web()));

    reaches_the_maps(&observer).await?;
    let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    let patch = PatchParams::apply("weir-tests").force();
    slices
        .patch("web-1", &patch, &Patch::Apply(slice(&["10.0.0.3"])?))
        .await?;
    let dirty = observer
        .until("one endpoint", |s| endpoints(s) == 1)
        .await?;
    assert_eq!(dirty.services.keys().collect::<Vec<_>>(), [&web()]);

    // The label of another proxy makes the Service vanish, and its removal brings it back.
    let services: Api<Service> = Api::default_namespaced(client.clone());
    for (label, served) in [(json!("other"), false), (json!(null), true)] {
        let labels =
            json!({"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": label}}});
        services
            .patch("web", &PatchParams::default(), &Patch::Merge(labels))
            .await?;
        observer
            .until("label", |s| s.services.contains_key(&web()) == served)
            .await?;
    }

    services.delete("web", &DeleteParams::default()).await?;
    slices.delete("web-1", &DeleteParams::default()).await?;
    observer
        .until("nothing", |s| {
            !s.services.contains_key(&web()) && endpoints(s) == 0
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_kind_arrives() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let mut observer = Observer::of(&plane).await?;
    let create = PostParams::default();
    let node = json!({
        "metadata": {"name": "a", "labels": {"topology.kubernetes.io/zone": "z"}},
        "spec": {"podCIDRs": ["10.244.0.0/24"], "podCIDR": "10.244.0.0/24"}
    });
    Api::<Node>::all(client.clone())
        .create(&create, &serde_json::from_value(node)?)
        .await?;
    let namespace = json!({"metadata": {"name": "shop"}});
    Api::<Namespace>::all(client.clone())
        .create(&create, &serde_json::from_value(namespace)?)
        .await?;
    let account = json!({"metadata": {"name": "default"}});
    Api::<k8s_openapi::api::core::v1::ServiceAccount>::namespaced(client.clone(), "shop")
        .create(&create, &serde_json::from_value(account)?)
        .await?;
    let pod = json!({
        "metadata": {"name": "p", "labels": {"app": "web"}},
        "spec": {"nodeName": "a", "containers": [
            {"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}
        ]}
    });
    Api::<Pod>::namespaced(client.clone(), "shop")
        .create(&create, &serde_json::from_value(pod)?)
        .await?;
    let policy = json!({"metadata": {"name": "deny"}, "spec": {"podSelector": {}}});
    Api::<NetworkPolicy>::namespaced(client.clone(), "shop")
        .create(&create, &serde_json::from_value(policy)?)
        .await?;
    let reached = |s: &Snapshot| {
        let pod = s.pods.get(&ObjectName::new("shop", "p"));
        let policy = s.policies.get(&ObjectName::new("shop", "deny"));
        s.nodes
            .get("a")
            .is_some_and(|n| n.zone.as_deref() == Some("z"))
            && s.namespaces.contains_key("shop")
            && pod.is_some_and(|p| p.named_ports[0].port == 8080 && p.node == "a")
            && policy.is_some_and(|p| p.ingress.as_deref() == Some(&[]) && p.egress.is_none())
    };
    observer
        .until("node, namespace, pod, policy", reached)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_api_server_is_waited_for_and_failed_over_from() -> Result<()> {
    let mut plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let url = plane.url();
    // Nobody listens on the first one: port 1 of loopback.
    let dead = "https://127.0.0.1:1";
    let mut observer = Observer::start(Observer::options(&plane, &[dead, &url])).await?;
    observer
        .until("all lists", |s| s.complete.has(&Kind::ALL))
        .await?;
    observer.until_connected(true).await?;
    assert_eq!(observer.source(), url);
    create_web(&client).await?;
    observer
        .until("web", |s| {
            s.services.contains_key(&web()) && endpoints(s) == 2
        })
        .await?;

    let alone = Observer::start(Observer::options(&plane, &[dead])).await?;
    let mut status = alone.store.status();
    let refused = status.wait_for(|s| s.error.is_some());
    let refused = tokio::time::timeout(PATIENCE, refused).await??.clone();
    assert!(!refused.connected);
    assert!(refused.error.is_some_and(|e| e.contains("127.0.0.1:1")));
    assert!(alone.store.complete().0.is_empty());

    // The API server goes: what was seen stays. It comes back: what changes is seen again.
    plane.stop_apiserver();
    observer.until_connected(false).await?;
    assert!(observer.store.read().services.contains_key(&web()));
    plane.start_apiserver().await?;
    observer.until_connected(true).await?;
    let services: Api<Service> = Api::default_namespaced(plane.client().await?);
    services.delete("web", &DeleteParams::default()).await?;
    observer
        .until("web gone", |s| !s.services.contains_key(&web()))
        .await?;
    Ok(())
}
