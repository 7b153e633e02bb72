//! What an agent would observe of a control plane.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use proxy_agent::{
    model::{Dirty, Snapshot},
    observe::{
        Changes, Store,
        kubernetes::{self, Options, Watches},
    },
};

use super::ControlPlane;

/// Far beyond what any change takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running observer.
#[derive(Debug)]
pub struct Observer {
    /// What it has seen.
    pub store: Arc<Store>,
    /// What changes.
    pub changes: Changes,
    /// Its watches.
    pub watches: Watches,
}

impl Observer {
    /// Starts one.
    pub async fn start(options: Options) -> Result<Self> {
        let store = Store::new();
        Ok(Self {
            watches: kubernetes::spawn(Arc::clone(&store), options).await?,
            changes: Changes::new(Arc::clone(&store), Duration::from_millis(2)),
            store,
        })
    }

    /// How one on the node `here` reaches a control plane, by these API servers.
    pub fn options(plane: &ControlPlane, api_servers: &[&str]) -> Options {
        Options {
            node: "here".to_owned(),
            kubeconfig: Some(plane.kubeconfig().to_owned()),
            api_servers: api_servers.iter().map(ToString::to_string).collect(),
            ..Options::default()
        }
    }

    /// One that asks the control plane itself.
    pub async fn of(plane: &ControlPlane) -> Result<Self> {
        Self::start(Self::options(plane, &[])).await
    }

    /// Waits until a state is reached; gives all that was dirty meanwhile.
    pub async fn until(
        &mut self,
        what: &str,
        reached: impl Fn(&Snapshot) -> bool,
    ) -> Result<Dirty> {
        self.within(PATIENCE, what, reached).await
    }

    /// The same, within some time.
    pub async fn within(
        &mut self,
        limit: Duration,
        what: &str,
        reached: impl Fn(&Snapshot) -> bool,
    ) -> Result<Dirty> {
        let mut dirty = Dirty::default();
        let wait = async {
            while !reached(&self.store.read()) {
                self.changes.due().await;
                dirty.merge(self.changes.take(&self.store.read()).dirty);
            }
        };
        let waited = tokio::time::timeout(limit, wait).await;
        waited.with_context(|| format!("{what}: {:?}", self.store.status().borrow().clone()))?;
        dirty.merge(self.changes.take(&self.store.read()).dirty);
        Ok(dirty)
    }

    /// Waits until the API server answers, or does not.
    pub async fn until_connected(&self, connected: bool) -> Result<()> {
        self.connected_within(PATIENCE, connected).await
    }

    /// The same, within some time.
    pub async fn connected_within(&self, limit: Duration, connected: bool) -> Result<()> {
        let mut status = self.store.status();
        let wait = status.wait_for(|s| s.connected == connected);
        let waited = tokio::time::timeout(limit, wait).await;
        waited.with_context(|| format!("not connected = {connected} within {limit:?}"))??;
        Ok(())
    }

    /// Which API server it asks.
    pub fn source(&self) -> String {
        let source = self.store.status().borrow().source.clone();
        source.trim_end_matches('/').to_owned()
    }

    /// What is wrong, if anything is.
    pub fn error(&self) -> Option<String> {
        self.store.status().borrow().error.clone()
    }
}
