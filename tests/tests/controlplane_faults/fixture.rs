//! Objects of the tests.

use anyhow::Result;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use proxy_agent::model::{Kind, Snapshot};
use serde_json::json;
use weir_tests::controlplane::Observer;

/// Makes a namespace: an object that needs nothing else.
pub(super) async fn create(client: &Client, name: &str) -> Result<()> {
    let namespaces = Api::<Namespace>::all(client.clone());
    let object = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
    namespaces.create(&PostParams::default(), &object).await?;
    Ok(())
}

/// Makes several.
pub(super) async fn create_all(client: &Client, names: &[String]) -> Result<()> {
    for some in names.chunks(50) {
        let created = some.iter().map(|name| create(client, name));
        futures::future::try_join_all(created).await?;
    }
    Ok(())
}

/// Removes one, and its finalizer, which nobody else here does.
pub(super) async fn delete(client: &Client, name: &str) -> Result<()> {
    let namespaces = Api::<Namespace>::all(client.clone());
    namespaces.delete(name, &DeleteParams::default()).await?;
    let mut object = namespaces.get(name).await?;
    object.spec = Some(k8s_openapi::api::core::v1::NamespaceSpec::default());
    namespaces
        .replace_subresource("finalize", name, &PostParams::default(), &object)
        .await?;
    Ok(())
}

pub(super) fn has(name: &str) -> impl Fn(&Snapshot) -> bool {
    move |snapshot| snapshot.namespaces.contains_key(name)
}

pub(super) async fn until_listed(observer: &mut Observer) -> Result<()> {
    let complete = |s: &Snapshot| s.complete.has(&Kind::ALL);
    observer.until("all lists", complete).await.map(drop)
}
