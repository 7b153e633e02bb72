//! What of an agent claims ranges for its node, as often as a test likes in one process.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use ipnetwork::IpNetwork;
use proxy_agent::{
    api::{Shared, log_level::LogLevel, metrics::Metrics},
    config::{Configuration, Ipam, Period},
    node::claims::Claims,
    observe::{
        Store,
        kubernetes::{self, Options},
    },
};
use tempfile::TempDir;
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep},
};

/// Far beyond what any claim takes.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long claims of Nodes that are gone are kept.
pub(super) const KEEP: Duration = Duration::from_secs(4);

/// A running one. It has a runtime of its own, so that it ends at any point when it is killed.
pub(super) struct Claimer {
    runtime: Option<Runtime>,
    pub(super) shared: Arc<Shared>,
    pub(super) claims: Claims,
}

/// A machine, whose folder outlives agents.
pub(super) struct Machine {
    pub(super) node: String,
    folder: TempDir,
}

impl Machine {
    pub(super) fn new(node: &str) -> Result<Self> {
        Ok(Self {
            node: node.to_owned(),
            folder: tempfile::tempdir()?,
        })
    }

    /// Starts an agent's part that claims.
    pub(super) fn start(
        &self,
        kubeconfig: &Path,
        api_server: Option<String>,
        cluster: &[&str],
    ) -> Result<Claimer> {
        let config = Configuration {
            node_name: self.node.clone(),
            run_dir: self.folder.path().to_owned(),
            ..configuration(cluster)?
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let store = Store::new();
        let shared = Arc::new(Shared::new(
            config,
            Metrics::new(),
            LogLevel::default(),
            &store,
        ));
        let options = Options {
            node: self.node.clone(),
            kubeconfig: Some(kubeconfig.to_owned()),
            api_servers: api_server.into_iter().collect(),
            ..Options::default()
        };
        let claims = Claims::default();
        let (handle, begun) = (Arc::clone(&shared), claims.clone());
        runtime.spawn(async move {
            let watches = kubernetes::spawn(Arc::clone(&store), options).await;
            let watches = watches.unwrap_or_else(|error| panic!("{error}"));
            begun.begin(&handle, &store, watches.claims().clone());
            std::future::pending::<()>().await;
        });
        Ok(Claimer {
            runtime: Some(runtime),
            shared,
            claims,
        })
    }
}

/// What all nodes are told.
pub(super) fn configuration(cluster: &[&str]) -> Result<Configuration> {
    let mut config = Configuration {
        ipam: Ipam::Cluster,
        ..Configuration::default()
    };
    for range in cluster {
        config.cluster_pod_cidrs.push(range.parse()?);
    }
    config.pod_ranges.give_back_after = Period(KEEP);
    Ok(config)
}

impl Claimer {
    /// The ranges out of which a pod would be given an address now.
    pub(super) fn valid(&self) -> Vec<IpNetwork> {
        let ranges = self.claims.ranges().unwrap_or_default();
        let admitted = |range: &IpNetwork| self.claims.admit(&[range.ip()]).is_ok();
        ranges.into_iter().filter(admitted).collect()
    }

    /// Waits until it has such ranges.
    pub(super) async fn until(&self, expected: &[&str]) -> Result<()> {
        let expected: Vec<IpNetwork> = expected
            .iter()
            .map(|range| range.parse())
            .collect::<Result<_, _>>()?;
        self.reached(&format!("ranges {expected:?}"), |claimer| {
            claimer.valid() == expected
        })
        .await
    }

    /// Waits until something is told of the Node.
    pub(super) async fn until_told(&self, reason: &str, words: &str) -> Result<()> {
        let told = |claimer: &Self| {
            let notices = claimer.claims.notices("x");
            notices
                .iter()
                .any(|n| n.reason.name() == reason && n.note.contains(words))
        };
        self.reached(&format!("{reason}: {words}"), told).await
    }

    /// Waits.
    pub(super) async fn reached(&self, what: &str, reached: impl Fn(&Self) -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !reached(self) {
            if Instant::now() > end {
                let status = self.claims.status(Ipam::Cluster);
                bail!("waited {PATIENCE:?} for {what}: {status:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Puts other ranges in force, as a changed file does.
    pub(super) fn configure(&self, cluster: &[&str]) -> Result<()> {
        let now = Configuration {
            node_name: self.shared.config.node_name.clone(),
            run_dir: self.shared.config.run_dir.clone(),
            ..configuration(cluster)?
        };
        self.shared.set_configuration(now);
        self.claims.look();
        Ok(())
    }

    /// Ends it wherever it is.
    pub(super) fn kill(mut self) -> Result<()> {
        let runtime = self.runtime.take().context("it runs")?;
        runtime.shutdown_background();
        Ok(())
    }
}

impl Drop for Claimer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
