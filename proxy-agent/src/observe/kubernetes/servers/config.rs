//! How each API server is reached.

use kube::{
    Config,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext},
};

use super::{
    super::{KubernetesError, Options, ServiceAccount},
    with_url,
};

/// What the configuration says.
pub(super) struct Configured {
    servers: Vec<Config>,
    /// Credentials, for API servers that the cluster names.
    base: Config,
    /// A name that is in the certificate of each of them.
    name: Option<String>,
}

impl Configured {
    /// Reads it. Without a URL only what the cluster has named (`is_known`) can be used: the address that a Pod
    /// is told is a Service's, which this agent serves itself.
    pub(super) async fn read(options: &Options, is_known: bool) -> Result<Self, KubernetesError> {
        let (base, is_vip) = base(options).await?;
        let mut servers = Vec::new();
        for url in &options.api_servers {
            servers.push(with_url(&base, url)?);
        }
        let configured = servers.first().unwrap_or(&base).cluster_url.clone();
        if servers.is_empty() && !is_vip {
            servers.push(base.clone());
        }
        if servers.is_empty() && !is_known {
            return Err(KubernetesError::OwnVip {
                url: configured.to_string(),
            });
        }
        let name = base.tls_server_name.clone();
        Ok(Self {
            servers,
            name: name.or_else(|| configured.host().map(bare)),
            base,
        })
    }

    /// The configured ones, then those that the cluster names. A certificate may hold the address of its own
    /// server, or only a name that all have in common.
    pub(super) fn candidates(&self, known: &[String]) -> Vec<Config> {
        let mut all = self.servers.clone();
        for url in known {
            let Ok(by_address) = with_url(&self.base, url) else {
                continue; // Ours made it: it is one.
            };
            let is_there =
                |c: &Config| c.cluster_url.authority() == by_address.cluster_url.authority();
            if self.servers.iter().any(is_there) {
                continue;
            }
            let mut by_name = by_address.clone();
            by_name.tls_server_name.clone_from(&self.name);
            let differ = by_name.tls_server_name != by_address.tls_server_name;
            all.push(by_address);
            all.extend(differ.then_some(by_name));
        }
        all
    }
}

/// The same credentials for another URL.
pub(super) fn at(config: &Config, url: http::Uri) -> Config {
    let mut config = config.clone();
    config.cluster_url = url;
    config
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> String {
    host.trim_matches(['[', ']']).to_owned()
}

/// What a service account comes to as a file.
fn file_of(account: &ServiceAccount) -> Kubeconfig {
    let ServiceAccount { folder, host, port } = account;
    let host = match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.clone(),
    };
    let path = |name: &str| Some(folder.join(name).display().to_string());
    let name = "agent".to_owned();
    let mut file = Kubeconfig {
        current_context: Some(name.clone()),
        ..Kubeconfig::default()
    };
    file.clusters.push(NamedCluster {
        name: name.clone(),
        cluster: Some(kube::config::Cluster {
            server: Some(format!("https://{host}:{port}")),
            certificate_authority: path("ca.crt"),
            ..kube::config::Cluster::default()
        }),
        ..NamedCluster::default()
    });
    file.auth_infos.push(NamedAuthInfo {
        name: name.clone(),
        auth_info: Some(AuthInfo {
            token_file: path("token"),
            ..AuthInfo::default()
        }),
        ..NamedAuthInfo::default()
    });
    file.contexts.push(NamedContext {
        name: name.clone(),
        context: Some(kube::config::Context {
            cluster: name.clone(),
            user: Some(name),
            ..kube::config::Context::default()
        }),
        ..NamedContext::default()
    });
    file
}

/// The configuration, and whether its URL is that of the `kubernetes` Service.
async fn base(options: &Options) -> Result<(Config, bool), KubernetesError> {
    let wrong = |e: &dyn std::fmt::Display| KubernetesError::Config(e.to_string());
    let usual = KubeConfigOptions::default();
    let Some(path) = &options.kubeconfig else {
        if let Some(account) = &options.service_account {
            let config = Config::from_custom_kubeconfig(file_of(account), &usual).await;
            return Ok((config.map_err(|e| wrong(&e))?, true));
        }
        let config = Config::infer().await.map_err(|e| wrong(&e))?;
        // Where there is no kubeconfig, that was the service account.
        let is_vip = Config::from_kubeconfig(&usual).await.is_err();
        return Ok((config, is_vip));
    };
    let file = Kubeconfig::read_from(path).map_err(|e| wrong(&e))?;
    let config = Config::from_custom_kubeconfig(file, &usual).await;
    Ok((config.map_err(|e| wrong(&e))?, false))
}
