//! Where the cluster's objects come from: the API server, or a folder of manifests.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;

use crate::{
    api::Shared,
    observe::{Store, kubernetes, manifests},
};

/// A source that does not run yet: what cannot be right is known before anything is touched.
#[derive(Debug)]
pub enum Prepared {
    /// The API server.
    Kubernetes(kubernetes::Options, Box<kubernetes::Servers>),
    /// A folder.
    Manifests(PathBuf),
}

/// A running source; it ends when this is dropped.
#[derive(Debug)]
pub enum Source {
    /// The API server.
    Kubernetes(kubernetes::Watches),
    /// A folder.
    Manifests(manifests::Watch),
}

/// Reads how to reach the API server.
pub async fn prepare(shared: &Shared) -> anyhow::Result<Prepared> {
    let config = &shared.config;
    if let Some(folder) = &config.manifests {
        return Ok(Prepared::Manifests(folder.clone()));
    }
    let options = kubernetes::Options {
        watchdog: shared.watchdog.clone(),
        mended: shared.mended.clone(),
        ..kubernetes::Options::of(config)
    };
    let servers = kubernetes::Servers::new(&options)
        .await
        .context("clientConnection")?;
    Ok(Prepared::Kubernetes(options, Box::new(servers)))
}

impl Prepared {
    /// Begins to observe. An API server that does not answer is no error: the agent keeps trying, says so, and
    /// the kernel works from the pinned state meanwhile.
    pub fn observe(self, shared: &Shared, store: &Arc<Store>) -> anyhow::Result<Source> {
        let store = Arc::clone(store);
        match self {
            Self::Kubernetes(options, servers) => {
                let watches = kubernetes::spawn_with(store, &options, *servers);
                Ok(Source::Kubernetes(watches))
            }
            Self::Manifests(folder) => {
                let pulse = shared.watchdog.register("watch of the manifests");
                let node = &shared.config.node_name;
                let watch = manifests::spawn(store, folder, node, pulse).context("manifests")?;
                Ok(Source::Manifests(watch))
            }
        }
    }
}
