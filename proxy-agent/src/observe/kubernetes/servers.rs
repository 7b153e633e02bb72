//! The API servers, one of which is in use.

use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};
use tokio::sync::watch;

use super::{KubernetesError, Options};

/// Clients for all API servers.
pub(super) struct Servers {
    servers: Vec<Server>,
    current: watch::Sender<usize>,
}

/// One API server.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) client: Client,
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let urls = self.servers.iter().map(|server| &server.url);
        f.debug_list().entries(urls).finish()
    }
}

impl Servers {
    pub(super) async fn new(options: &Options) -> Result<Self, KubernetesError> {
        let config = config(options).await?;
        let mut servers = Vec::new();
        for url in &options.api_servers {
            let mut config = config.clone();
            config.cluster_url = url.parse().map_err(|e| KubernetesError::Url {
                url: url.clone(),
                reason: format!("{e}"),
            })?;
            if config.cluster_url.host().is_none() || config.cluster_url.scheme().is_none() {
                return Err(KubernetesError::Url {
                    url: url.clone(),
                    reason: "not of the form https://HOST[:PORT]".into(),
                });
            }
            servers.push(server(config)?);
        }
        if servers.is_empty() {
            servers.push(server(config)?);
        }
        Ok(Self {
            servers,
            current: watch::Sender::new(0),
        })
    }

    /// The one in use.
    pub(super) fn current(&self) -> &Server {
        &self.servers[*self.current.borrow()]
    }

    /// Tells when another one comes into use.
    pub(super) fn changes(&self) -> watch::Receiver<usize> {
        self.current.subscribe()
    }

    /// All, the one in use first.
    pub(super) fn candidates(&self) -> impl Iterator<Item = (usize, &Server)> {
        let first = *self.current.borrow();
        let order = (0..self.servers.len()).map(move |i| (first + i) % self.servers.len());
        order.map(|i| (i, &self.servers[i]))
    }

    /// Brings one into use.
    pub(super) fn select(&self, index: usize) {
        self.current.send_if_modified(|current| {
            let changed = *current != index;
            *current = index;
            changed
        });
    }
}

async fn config(options: &Options) -> Result<Config, KubernetesError> {
    let wrong = |e: &dyn std::fmt::Display| KubernetesError::Config(e.to_string());
    let Some(path) = &options.kubeconfig else {
        return Config::infer().await.map_err(|e| wrong(&e));
    };
    let file = Kubeconfig::read_from(path).map_err(|e| wrong(&e))?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    config.map_err(|e| wrong(&e))
}

fn server(config: Config) -> Result<Server, KubernetesError> {
    let url = config.cluster_url.to_string();
    match Client::try_from(config) {
        Ok(client) => Ok(Server { url, client }),
        Err(source) => Err(KubernetesError::Client {
            url,
            source: Box::new(source),
        }),
    }
}
