//! Fail-over between API servers: whether the one in use answers, said once per change of state, and which one is next.
//!
//! A peer that is gone without a word makes no error. So when nothing has been heard for a while the API server
//! is asked, over a connection that was there before; if it does not answer, all are asked over new ones.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    known,
    probe::{self, Found},
    servers::{Server, Servers},
};
use crate::{model::Kind, observe::Store};

/// How long nothing need be heard.
const QUIET: Duration = Duration::from_secs(5);
/// How often it is asked in any case: there must be a connection to ask on that is as old as those of watches.
const KEEP: Duration = Duration::from_mins(1);
/// How long an answer may take before all API servers are asked.
const LATE: Duration = Duration::from_secs(5);
/// How much longer, before connections are taken for dead.
const DEAD: Duration = Duration::from_secs(3);
/// Pauses while no API server answers.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// Health of the connection, shared by all watches.
pub(super) struct Health {
    store: Arc<Store>,
    servers: Arc<Servers>,
    /// Kinds whose list or watch fails though the API server answers, and what it says.
    failing: Mutex<BTreeMap<Kind, String>>,
    heard: Mutex<Instant>,
}

impl Health {
    pub(super) fn new(store: Arc<Store>, servers: Arc<Servers>) -> Arc<Self> {
        Arc::new(Self {
            store,
            servers,
            failing: Mutex::default(),
            heard: Mutex::new(Instant::now()),
        })
    }

    /// A kind cannot be listed or watched.
    pub(super) fn fails(&self, kind: Kind, error: String) {
        tracing::debug!(%kind, error, "watch fails");
        self.failing().insert(kind, error);
        self.servers.suspect();
    }

    /// A kind is listed, or something of it has changed.
    pub(super) fn works(&self, kind: Kind) {
        *self.heard() = Instant::now();
        if self.failing().remove(&kind).is_some() {
            self.servers.suspect();
        }
    }

    fn failing(&self) -> MutexGuard<'_, BTreeMap<Kind, String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) -> MutexGuard<'_, Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the API server does not do though it answers.
    fn failures(&self) -> Vec<String> {
        let failing = self.failing();
        let mut texts: Vec<String> = failing.iter().map(|(k, e)| format!("{k}: {e}")).collect();
        texts.extend(self.servers.refusals());
        texts
    }

    /// Finds an API server that answers and keeps watch over it.
    #[expect(clippy::infinite_loop, reason = "ends with its task")]
    pub(super) async fn run(&self) {
        let found = self.find().await;
        self.take(found, true);
        self.ask().await;
        let mut asked = Instant::now();
        loop {
            let due = *self.heard() + QUIET;
            let suspected = timeout_at(due, self.servers.suspected()).await.is_ok();
            self.servers.remember(known::of(&self.store.read()));
            let is_quiet = self.heard().elapsed() >= QUIET;
            if suspected || is_quiet || asked.elapsed() >= KEEP {
                self.ask().await;
                asked = Instant::now();
            }
        }
    }

    /// Asks the API server in use. If it is late all are asked; connections on which no answer came are taken
    /// for dead, even if the same API server answers on new ones.
    async fn ask(&self) {
        let server = self.servers.current();
        let mut asked = pin!(probe::readiness(&server));
        let early = timeout(LATE, &mut asked).await;
        if let Ok(Ok(unready)) = early {
            return self.compare(&server, unready).await;
        }
        let found = self.find().await;
        // A connection that was reset tells of the others: idle ones do not notice.
        let is_slow = early.is_err() && matches!(timeout(DEAD, asked).await, Ok(Ok(_)));
        self.take(found, is_slow);
    }

    /// The one in use answers; if it is not ready it is left for one that is.
    async fn compare(&self, server: &Server, unready: Option<String>) {
        if unready.is_some()
            && let Ok(found) = probe::best(self.servers.candidates()).await
            && found.unready.is_none()
        {
            return self.take(found, true);
        }
        self.answers(&server.url, unready);
    }

    /// Goes on with an API server that answers: as before, if connections to it `may_stay`.
    fn take(&self, found: Found, may_stay: bool) {
        let Found { server, unready } = found;
        let url = server.url.clone();
        if may_stay && self.servers.current().is_same(&server) {
            self.servers.recovered();
        } else {
            self.servers.select(server);
        }
        self.answers(&url, unready);
    }

    /// Asks all API servers until one answers.
    async fn find(&self) -> Found {
        let (least, most) = PAUSES;
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(least)
            .with_max_delay(most)
            .with_jitter()
            .without_max_times()
            .build();
        loop {
            let error = match probe::best(self.servers.candidates()).await {
                Ok(found) => return found,
                Err(error) => error,
            };
            let url = &self.servers.current().url;
            if self.store.report(url, false, Some(&error)) {
                tracing::warn!(server = %url, error, "API server unreachable; keeping what is programmed, retrying");
            }
            sleep(pauses.next().unwrap_or(most)).await;
        }
    }

    fn answers(&self, url: &str, unready: Option<String>) {
        *self.heard() = Instant::now();
        let failures = unready.into_iter().chain(self.failures());
        let failures: Vec<String> = failures.collect();
        let failures = (!failures.is_empty()).then(|| failures.join("; "));
        if !self.store.report(url, true, failures.as_deref()) {
            return;
        }
        match failures {
            None => tracing::info!(server = %url, "API server answers"),
            Some(error) => tracing::error!(server = %url, error, "API server answers, but not all"),
        }
    }
}
