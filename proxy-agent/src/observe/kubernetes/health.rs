//! Whether an API server answers: said once per change of state, and fail-over to the next one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time};

use super::servers::Servers;
use crate::{model::Kind, observe::Store};

/// How long an API server may take to tell its version.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Health of the connection, shared by all watches.
pub(super) struct Health {
    store: Arc<Store>,
    servers: Arc<Servers>,
    suspect: Notify,
    /// Kinds whose watch the API server refuses (a missing right), and what it says.
    refused: Mutex<BTreeMap<Kind, String>>,
}

impl Health {
    pub(super) fn new(store: Arc<Store>, servers: Arc<Servers>) -> Arc<Self> {
        Arc::new(Self {
            store,
            servers,
            suspect: Notify::new(),
            refused: Mutex::default(),
        })
    }

    /// A watch could not be started: have the API server probed.
    pub(super) fn suspect(&self) {
        self.suspect.notify_one();
    }

    /// The API server answers, but refuses this watch.
    pub(super) fn refused(&self, kind: Kind, error: String) {
        tracing::debug!(%kind, error, "watch refused");
        self.refusals().insert(kind, error);
        self.suspect();
    }

    /// A watch has objects.
    pub(super) fn works(&self, kind: Kind) {
        if self.refusals().remove(&kind).is_some() {
            self.suspect();
        }
    }

    fn refusals(&self) -> MutexGuard<'_, BTreeMap<Kind, String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self) -> Option<String> {
        let refused = self.refusals();
        let texts: Vec<String> = refused.iter().map(|(k, e)| format!("{k}: {e}")).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// Probes at the start and whenever a watch has trouble, until some API server answers.
    #[expect(clippy::infinite_loop, reason = "ends with its task")]
    pub(super) async fn run(&self) {
        loop {
            let mut backoff = Backoff::default();
            while let Err(error) = self.probe().await {
                let url = &self.servers.current().url;
                if self.store.report(url, false, Some(&error)) {
                    tracing::warn!(server = %url, %error, "API server unreachable; keeping what is programmed, retrying");
                }
                time::sleep(backoff.next()).await;
            }
            self.suspect.notified().await;
        }
    }

    fn answers(&self, url: &str, version: &str) {
        let refusal = self.refusal();
        if !self.store.report(url, true, refusal.as_deref()) {
            return;
        }
        match refusal {
            None => tracing::info!(server = %url, version, "API server answers"),
            Some(error) => tracing::error!(server = %url, error, "API server refuses a watch"),
        }
    }

    /// Takes the first API server that answers.
    async fn probe(&self) -> Result<(), String> {
        let mut errors = Vec::new();
        for (index, server) in self.servers.candidates() {
            match time::timeout(PROBE_TIMEOUT, server.client.apiserver_version()).await {
                Ok(Ok(version)) => {
                    self.servers.select(index);
                    self.answers(&server.url, &version.git_version);
                    return Ok(());
                }
                Ok(Err(error)) => errors.push(format!("{}: {}", server.url, chain(&error))),
                Err(_) => errors.push(format!("{}: no answer in time", server.url)),
            }
        }
        Err(errors.join("; "))
    }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}

/// Delays that double from [`BACKOFF_MIN`] to [`BACKOFF_MAX`].
#[derive(Debug, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        let delay = BACKOFF_MIN.saturating_mul(1 << self.0.min(10));
        self.0 += 1;
        delay.min(BACKOFF_MAX)
    }

    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }
}
