//! Server-side apply of YAML, as `kubectl apply --server-side` does it.

use anyhow::{Context as _, Result};
use kube::api::{Api, DynamicObject, Patch, PatchParams, TypeMeta};
use kube::core::GroupVersionKind;
use kube::discovery::{self, Scope};
use kube::{Client, ResourceExt as _};

/// Applies every document of `yaml`, in order; with `dry_run` the server only says whether it would.
pub(super) async fn apply(client: &Client, yaml: &str, dry_run: bool) -> Result<()> {
    let objects: Vec<DynamicObject> =
        serde_saphyr::from_multiple(yaml).context("cannot read the test's YAML")?;
    for object in objects {
        one(client, &object, dry_run)
            .await
            .with_context(|| format!("cannot apply {}", object.name_any()))?;
    }
    Ok(())
}

async fn one(client: &Client, object: &DynamicObject, dry_run: bool) -> Result<()> {
    let types: &TypeMeta = object
        .types
        .as_ref()
        .context("an object without apiVersion and kind")?;
    let (group, version) = types
        .api_version
        .rsplit_once('/')
        .unwrap_or(("", &types.api_version));
    let kind = GroupVersionKind::gvk(group, version, &types.kind);
    let (resource, capabilities) = discovery::pinned_kind(client, &kind).await?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => Api::namespaced_with(
            client.clone(),
            object.metadata.namespace.as_deref().unwrap_or("default"),
            &resource,
        ),
    };
    let mut params = PatchParams::apply("weir-tests").force();
    params.dry_run = dry_run;
    api.patch(&object.name_any(), &params, &Patch::Apply(object))
        .await?;
    Ok(())
}
