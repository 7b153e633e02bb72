//! A release at a real API server: installed, upgraded, gone.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams},
    discovery::{Discovery, Scope},
};
use serde_json::{Value, json};
use weir_tests::controlplane::ControlPlane;

use super::helm::{Helm, chart};

/// What stands behind the Service `kubernetes`.
const SERVERS: &str = r"
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: kubernetes
  namespace: default
  labels: { kubernetes.io/service-name: kubernetes }
addressType: IPv4
ports: [{ name: https, port: 6443 }]
endpoints: [{ addresses: [192.0.2.8] }, { addresses: [192.0.2.7] }]
";

/// Objects of whatever kind that have to do with Weir: those of the whole cluster, and those of namespaces.
async fn ours(client: &Client) -> Result<[BTreeSet<String>; 2]> {
    let mut found = [BTreeSet::new(), BTreeSet::new()];
    let discovery = Discovery::new(client.clone()).run().await?;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if !capabilities.supports_operation("list") {
                continue;
            }
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let list = api.list(&ListParams::default()).await;
            let list = list.with_context(|| format!("list {}", resource.plural))?;
            let of_cluster = capabilities.scope == Scope::Cluster;
            for mut object in list {
                // Names this test.
                object.metadata.managed_fields = None;
                if serde_json::to_string(&object.metadata)?.contains("weir") {
                    let name = object.metadata.name.unwrap_or_default();
                    found[usize::from(!of_cluster)].insert(format!("{}/{name}", resource.plural));
                }
            }
        }
    }
    Ok(found)
}

async fn configuration(client: &Client) -> Result<Value> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let map = maps.get("weir").await?;
    let data = map.data.context("no data")?;
    Ok(serde_saphyr::from_str(&data["config.yaml"])?)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_the_cluster_keeps_what_agents_wrote_and_leaves_nothing_of_the_cluster()
-> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.system().await?;
    let client = plane.client().await?;
    plane.apply(SERVERS).await?;
    let before = ours(&client).await?;
    ensure!(before.iter().all(BTreeSet::is_empty), "{before:?}");

    let helm = Helm::new()?;
    let [chart, kubeconfig] =
        [chart(), plane.kubeconfig().to_owned()].map(|path| path.display().to_string());
    let with = |words: &[&str], values: Value| {
        let words = [words, &["--kubeconfig", &kubeconfig]].concat();
        helm.with(&words, &values)
    };
    with(
        &["install", "weir", &chart],
        json!({ "platform": "kubeadm" }),
    )?;
    let said = configuration(&client).await?;
    let servers = json!(["https://192.0.2.7:6443", "https://192.0.2.8:6443"]);
    ensure!(said["clientConnection"]["apiServers"] == servers, "{said}");
    let made = ours(&client).await?;
    ensure!(made[0].len() == 4, "{made:?}");

    let ranges: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let claim = json!({ "data": { "a": "claimed" } });
    let params = PatchParams::default();
    ranges
        .patch("weir-pod-ranges", &params, &Patch::Merge(&claim))
        .await?;
    with(
        &["upgrade", "weir", &chart],
        json!({ "config": { "logging": { "level": "debug" } } }),
    )?;
    let said = configuration(&client).await?;
    ensure!(said["logging"]["level"] == "debug", "{said}");

    helm.run(&["uninstall", "weir", "--kubeconfig", &kubeconfig])?;
    let left = ours(&client).await?;
    ensure!(left[0].is_empty(), "{left:?}");
    ensure!(
        left[1] == BTreeSet::from(["configmaps/weir-pod-ranges".to_owned()]),
        "{left:?}"
    );
    let kept = ranges
        .get("weir-pod-ranges")
        .await?
        .data
        .unwrap_or_default();
    ensure!(
        kept.get("a").is_some_and(|claim| claim == "claimed"),
        "{kept:?}"
    );
    // It takes up again what it has left.
    with(&["install", "weir", &chart], json!({}))?;
    let again = ours(&client).await?;
    ensure!(again[0] == made[0], "{again:?}");
    Ok(())
}
