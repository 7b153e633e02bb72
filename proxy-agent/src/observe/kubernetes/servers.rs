//! The API servers: those that are configured, and those that the `kubernetes` Service has named. One is in use.

mod client;
mod config;
mod refusals;
mod request;

pub use request::RequestError;

pub(super) use client::Server;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::Config;
use tokio::sync::{Notify, watch};

use self::{
    config::{Configured, at},
    refusals::Refusals,
};
use super::{KNOWN_SERVERS, KubernetesError, Options, known};
use crate::model::{Mended, Owned};

/// All API servers, and the clients of the one in use.
pub struct Servers {
    configured: Configured,
    /// URLs of API servers as the cluster names them, beside the configured ones.
    known: Mutex<Vec<String>>,
    file: Option<PathBuf>,
    mended: Mended,
    current: watch::Sender<Arc<Server>>,
    /// Counts the times when an API server answers again.
    recovered: watch::Sender<u64>,
    /// Somebody got no answer, or another one than before.
    suspect: Notify,
    refusals: Refusals,
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let urls = self
            .candidates()
            .into_iter()
            .map(|c| c.cluster_url.to_string());
        f.debug_list().entries(urls).finish()
    }
}

impl Servers {
    /// Reads the configuration and what is remembered. Nobody is asked yet.
    pub async fn new(options: &Options) -> Result<Self, KubernetesError> {
        let known = options.known_servers.as_deref();
        let known = known.map_or_else(Vec::new, known::read);
        let configured = Configured::read(options, !known.is_empty()).await?;
        let all = configured.candidates(&known);
        let first = all.into_iter().next().ok_or_else(|| {
            KubernetesError::Config("neither an API server nor a kubeconfig".to_owned())
        })?;
        Ok(Self {
            configured,
            known: Mutex::new(known),
            file: options.known_servers.clone(),
            mended: options.mended.clone(),
            current: watch::Sender::new(Arc::new(Server::new(first)?)),
            recovered: watch::Sender::new(0),
            suspect: Notify::new(),
            refusals: Refusals::default(),
        })
    }

    /// The one in use.
    pub(super) fn current(&self) -> Arc<Server> {
        Arc::clone(&self.current.borrow())
    }

    /// Tells when another one comes into use, or the same with new connections.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Server>> {
        self.current.subscribe()
    }

    /// Tells when the one in use answers again.
    pub(super) fn recoveries(&self) -> watch::Receiver<u64> {
        self.recovered.subscribe()
    }

    /// How to reach each, the one in use first.
    pub(super) fn candidates(&self) -> Vec<Config> {
        let mut all = self.configured.candidates(&self.known());
        let current = self.current();
        if let Some(first) = all.iter().position(|config| current.is(config)) {
            all.rotate_left(first);
        }
        all
    }

    /// Brings one into use.
    pub(super) fn select(&self, server: Server) {
        self.current.send_replace(Arc::new(server));
    }

    /// The one in use answers again: nobody needs to wait any longer.
    pub(super) fn recovered(&self) {
        self.recovered.send_modify(|times| *times += 1);
    }

    /// Somebody got no answer: have the API server probed.
    pub(super) fn suspect(&self) {
        self.suspect.notify_one();
    }

    /// What it refuses beside lists and watches.
    pub(super) fn refusals(&self) -> Vec<String> {
        self.refusals.told()
    }

    pub(super) async fn suspected(&self) {
        self.suspect.notified().await;
    }

    /// Remembers which API servers the cluster names, also for the next start.
    pub(super) fn remember(&self, urls: Vec<String>) {
        if urls.is_empty() {
            return;
        }
        let is_new = *self.known() != urls;
        if let Some(file) = &self.file
            && (is_new || !known::holds(file, &urls))
        {
            let written = known::write(file, &urls);
            if written && !is_new {
                self.mended.note(Owned::ServersFile, KNOWN_SERVERS);
            }
        }
        *self.known() = urls;
    }

    fn known(&self) -> MutexGuard<'_, Vec<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The configuration of one API server, for a URL.
fn with_url(config: &Config, url: &str) -> Result<Config, KubernetesError> {
    let wrong = |reason: String| KubernetesError::Url {
        url: url.to_owned(),
        reason,
    };
    let parsed: http::Uri = url.parse().map_err(|e| wrong(format!("{e}")))?;
    if parsed.host().is_none() || parsed.scheme().is_none() {
        return Err(wrong("not of the form https://HOST[:PORT]".to_owned()));
    }
    Ok(at(config, parsed))
}
