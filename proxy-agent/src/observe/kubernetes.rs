//! The Kubernetes API as source: one watch per kind, fail-over between API servers, never giving up.

mod claims;
mod events;
mod follow;
mod health;
mod known;
mod look;
mod pools;
mod probe;
mod ranges;
mod read;
mod servers;
mod write;

pub(crate) use crate::usage::chain;
pub use claims::ClaimStore;
pub use known::KNOWN_SERVERS;
pub use look::{Look, Unlisted, look};
pub use pools::{Held as HeldLease, PoolStore};
pub use ranges::{RangeReader, ReadRanges};
pub use read::PodReader;
pub use servers::{RequestError, Servers};
pub use write::NodeWriter;

use std::{path::PathBuf, sync::Arc};

use k8s_openapi::api::{
    core::v1 as core, discovery::v1 as discovery, networking::v1 as networking,
};
use kube::runtime::watcher;
use tokio::task::JoinSet;

use self::{events::EventWriter, follow::Follower, health::Health};
use super::{Notices, Store, convert::FOREIGN, intern::Interner};
use crate::{config::Configuration, model::Mended, watchdog::Watchdog};

/// How to reach the API.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name of this node.
    pub node: String,
    /// Kubeconfig file. Without it: `$KUBECONFIG`, the usual places, the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// A pod's service account that is not ours, in place of that.
    pub service_account: Option<ServiceAccount>,
    /// URLs that replace the one of the configuration, in order of preference. None of them may be a VIP
    /// that this node is yet to program.
    pub api_servers: Vec<String>,
    /// File that remembers the API servers that the cluster names.
    pub known_servers: Option<PathBuf>,
    /// Watches over the watches.
    pub watchdog: Watchdog,
    /// Is told what was put back.
    pub mended: Mended,
}

impl Options {
    /// Those of an agent's configuration.
    pub fn of(config: &Configuration) -> Self {
        Self {
            node: config.node_name.clone(),
            kubeconfig: config.client_connection.kubeconfig.clone(),
            service_account: None,
            api_servers: config.client_connection.api_servers.clone(),
            known_servers: Some(config.run_dir.join(KNOWN_SERVERS)),
            watchdog: Watchdog::default(),
            mended: Mended::default(),
        }
    }
}

/// A service account as its pod has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// The folder of its token.
    pub folder: PathBuf,
    /// Where the pod is told that the API server is; an address of the Service `kubernetes`.
    pub host: String,
    /// Its port.
    pub port: String,
}

/// The watches; they end when this is dropped.
#[derive(Debug)]
pub struct Watches {
    tasks: JoinSet<()>,
    events: EventWriter,
    watchdog: Watchdog,
    pods: PodReader,
    nodes: NodeWriter,
    ranges: RangeReader,
    claims: ClaimStore,
    pools: PoolStore,
}

impl Watches {
    /// Tells the owners of objects what there is to say about them, from now on.
    pub fn tell_events(&mut self, notices: &Notices) {
        let (writer, watchdog) = (self.events.clone(), &self.watchdog);
        let (pulse, told) = (watchdog.register("Events"), notices.subscribe());
        pulse.spawn_in(&mut self.tasks, writer.run(told));
    }

    /// Live reads of pods.
    pub const fn pods(&self) -> &PodReader {
        &self.pods
    }

    /// Reads of the ranges of Services' addresses.
    pub const fn ranges(&self) -> &RangeReader {
        &self.ranges
    }

    /// Claims of ranges of pods.
    pub const fn claims(&self) -> &ClaimStore {
        &self.claims
    }

    /// What gives addresses to Services.
    pub const fn pools(&self) -> &PoolStore {
        &self.pools
    }

    /// Writes to Nodes.
    pub const fn nodes(&self) -> &NodeWriter {
        &self.nodes
    }
}

/// What cannot be right however long one waits; anything else is retried for ever.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// The kubeconfig or service account cannot be used.
    #[error("reading the Kubernetes client configuration: {0}")]
    Config(String),
    /// There is no way but by a Service that this agent is to serve.
    #[error(
        "no apiServers: {url} is the address of the Service `kubernetes`, which this agent itself serves"
    )]
    OwnVip {
        /// What the Pod is told.
        url: String,
    },
    /// A URL is none.
    #[error("API server {url:?}: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The client cannot be built.
    #[error("Kubernetes client for {url}: {source}")]
    Client {
        /// The URL.
        url: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

impl KubernetesError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Config(_) => {
                "--kubeconfig names a file (of proxyctl check --set clientConnection.kubeconfig=FILE does); in a Pod, is the token of its service account mounted?"
            }
            Self::OwnVip { .. } => {
                "set clientConnection.apiServers (--api-server) to what nodes reach without any Service; `kubectl get \
                 endpointslices -l kubernetes.io/service-name=kubernetes` names the API servers' own addresses"
            }
            Self::Url { .. } => "for example --api-server https://192.0.2.1:6443",
            Self::Client { .. } => "are the certificates and keys of the kubeconfig right?",
        }
    }
}

/// Starts to watch all kinds into `store`. Returns at once; an API server that does not answer is retried
/// with back-off and shows in [`Store::status`].
pub async fn spawn(store: Arc<Store>, options: Options) -> Result<Watches, KubernetesError> {
    let servers = Servers::new(&options).await?;
    Ok(spawn_with(store, &options, servers))
}

/// As [`spawn`], with API servers that are known to be usable.
pub fn spawn_with(store: Arc<Store>, options: &Options, servers: Servers) -> Watches {
    let servers = Arc::new(servers);
    let health = Health::new(Arc::clone(&store), Arc::clone(&servers));
    let interner = Arc::new(Interner::new(&options.node));
    let pods = PodReader::new(Arc::clone(&servers), Arc::clone(&interner));
    let nodes = NodeWriter::new(Arc::clone(&servers));
    let ranges = RangeReader::new(Arc::clone(&servers));
    let claims = ClaimStore::new(Arc::clone(&servers), Arc::clone(&interner));
    let pools = PoolStore::new(Arc::clone(&servers));
    let events = EventWriter {
        servers: Arc::clone(&servers),
        node: options.node.clone(),
    };
    let follower = Follower {
        store,
        servers,
        health: Arc::clone(&health),
        interner,
        watchdog: options.watchdog.clone(),
    };
    let all = watcher::Config::default();
    // The filter of kube-proxy: other proxies' Services and headless ones never get here.
    let ours = FOREIGN.map(|label| format!("!{label}")).join(",");
    let ours = all.clone().labels(&ours);
    let mut tasks = JoinSet::new();
    let pulse = options.watchdog.register("probe of the API server");
    pulse.spawn_in(&mut tasks, async move { health.run().await });
    follower.follow::<core::Node>(&mut tasks, all.clone());
    follower.follow::<core::Service>(&mut tasks, ours.clone());
    follower.follow::<discovery::EndpointSlice>(&mut tasks, ours);
    follower.follow::<core::Namespace>(&mut tasks, all.clone());
    follower.follow::<core::Pod>(&mut tasks, all.clone());
    follower.follow::<networking::NetworkPolicy>(&mut tasks, all);
    Watches {
        tasks,
        events,
        watchdog: options.watchdog.clone(),
        pods,
        nodes,
        ranges,
        claims,
        pools,
    }
}
