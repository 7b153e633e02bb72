//! Where the cluster's objects come from: the API server, or a folder of manifests.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;

use crate::{
    config::Configuration,
    observe::{Store, kubernetes, manifests},
};

/// A running source; it ends when this is dropped.
#[derive(Debug)]
pub enum Source {
    /// The API server.
    Kubernetes(kubernetes::Watches),
    /// A folder.
    Manifests(manifests::Watch),
}

/// Begins to observe. An API server that does not answer is no error: the agent keeps trying, says so, and
/// the kernel works from the pinned state meanwhile.
pub async fn observe(config: &Configuration, store: &Arc<Store>) -> anyhow::Result<Source> {
    if let Some(folder) = &config.manifests {
        return folder_source(folder, &config.node_name, store);
    }
    let options = kubernetes::Options {
        node: config.node_name.clone(),
        kubeconfig: config.client_connection.kubeconfig.clone(),
        api_servers: config.client_connection.api_servers.clone(),
    };
    let watches = kubernetes::spawn(Arc::clone(store), options)
        .await
        .context("clientConnection")?;
    Ok(Source::Kubernetes(watches))
}

fn folder_source(folder: &Path, node: &str, store: &Arc<Store>) -> anyhow::Result<Source> {
    let watch =
        manifests::spawn(Arc::clone(store), folder.to_owned(), node).context("manifests")?;
    Ok(Source::Manifests(watch))
}
