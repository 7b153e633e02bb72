//! What of an agent gives addresses, as often as a test likes in one process.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use proxy_agent::{
    config::{AddressPool, LoadBalancerSettings},
    model::Dirty,
    observe::{
        Store,
        kubernetes::{self, Options},
    },
    pools::{
        allocator::{Allocator, Said},
        asked::{Asked, Follower},
    },
    subject::Turn,
};
use tokio::{runtime::Runtime, sync::watch, time::sleep};

/// A running one. It has a runtime of its own, so that it ends at any point when it is killed.
pub(super) struct Giver {
    runtime: Option<Runtime>,
    pub(super) said: Said,
}

/// Pools as the tests have them.
pub(super) fn settings(pools: &[(&str, &[&str])]) -> Result<LoadBalancerSettings> {
    let mut settings = LoadBalancerSettings::default();
    for (name, addresses) in pools {
        let addresses = addresses.iter().map(|range| range.parse());
        settings.pools.push(AddressPool {
            name: (*name).to_owned(),
            addresses: addresses
                .collect::<Result<_, String>>()
                .map_err(anyhow::Error::msg)?,
            auto_assign: true,
        });
    }
    Ok(settings)
}

impl Giver {
    /// Starts the part of a node's agent that gives.
    pub(super) fn start(
        node: &str,
        kubeconfig: &Path,
        api_server: Option<String>,
        settings: LoadBalancerSettings,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let options = Options {
            node: node.to_owned(),
            kubeconfig: Some(kubeconfig.to_owned()),
            api_servers: api_server.into_iter().collect(),
            ..Options::default()
        };
        let (said, store, node) = (Said::default(), Store::new(), node.to_owned());
        let told = said.clone();
        runtime.spawn(async move {
            let watches = kubernetes::spawn(Arc::clone(&store), options).await;
            let watches = watches.unwrap_or_else(|error| panic!("{error}"));
            let (sender, receiver) = watch::channel(Arc::default());
            let pools = watches.pools().clone();
            let allocator = Allocator::new(&node, &settings.pools, pools, receiver, told);
            tokio::spawn(allocator.run());
            follow(&store, &settings, &sender).await;
        });
        Ok(Self {
            runtime: Some(runtime),
            said,
        })
    }

    /// Ends it wherever it is.
    pub(super) fn kill(mut self) -> Result<()> {
        let runtime = self.runtime.take().context("it runs")?;
        runtime.shutdown_background();
        Ok(())
    }
}

/// As the main loop does it, but looks at everything each time.
async fn follow(
    store: &Store,
    settings: &LoadBalancerSettings,
    sender: &watch::Sender<Arc<Asked>>,
) {
    let mut follower = Follower::default();
    while !sender.is_closed() {
        let snapshot = store.read().clone();
        let turn = Turn {
            snapshot: &snapshot,
            dirty: &Dirty::default(),
            relisted: true,
        };
        follower.follow(&turn, settings);
        let asked = follower.asked(&snapshot);
        sender.send_if_modified(|told| {
            let changed = *told != asked;
            *told = asked;
            changed
        });
        sleep(Duration::from_millis(20)).await;
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
