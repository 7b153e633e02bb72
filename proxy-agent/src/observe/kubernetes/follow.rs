//! One watch: list, follow, list again when the API server says so.

use std::{fmt::Debug, pin::pin, sync::Arc};

use futures::StreamExt as _;
use kube::{
    Api, Resource,
    runtime::watcher::{self, Error, Event},
};
use serde::de::DeserializeOwned;

use super::{
    health::{Backoff, Health, chain},
    servers::Servers,
};
use crate::{
    model::Kind,
    observe::{Converted, Store, Update, convert::Convert, intern::Interner},
};

/// What each watch works with.
#[derive(Clone)]
pub(super) struct Follower {
    pub(super) store: Arc<Store>,
    pub(super) servers: Arc<Servers>,
    pub(super) health: Arc<Health>,
    pub(super) interner: Arc<Interner>,
}

/// Why a watch has to be started anew.
enum Restart {
    /// Another API server is in use.
    Server,
    /// This API server cannot stream lists (`WatchList` is off).
    NoStreaming,
}

impl Follower {
    /// Follows one kind for ever. Lists are streamed where the API server can, so that no list is ever in
    /// memory whole, and paged elsewhere.
    #[expect(clippy::infinite_loop, reason = "ends with its task")]
    pub(super) async fn follow<K>(self, config: watcher::Config)
    where
        K: Convert + Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut streaming = true;
        loop {
            let config = if streaming {
                config.clone().streaming_lists()
            } else {
                config.clone()
            };
            match self.watch::<K>(config).await {
                Restart::Server => streaming = true,
                Restart::NoStreaming => {
                    tracing::debug!(kind = %K::KIND, "no streaming lists here: paging");
                    streaming = false;
                }
            }
        }
    }

    async fn watch<K>(&self, config: watcher::Config) -> Restart
    where
        K: Convert + Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let streaming = config.initial_list_strategy == watcher::InitialListStrategy::StreamingList;
        let mut servers = self.servers.changes();
        let client = self.servers.current().client.clone();
        let mut events = pin!(watcher::watcher(Api::<K>::all(client), config));
        let mut listed: Vec<Converted> = Vec::new();
        let mut backoff = Backoff::default();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = servers.changed() => return Restart::Server,
            };
            match event {
                Some(Ok(event)) => {
                    backoff.reset();
                    self.health.works(K::KIND);
                    self.handle(event, &mut listed);
                }
                Some(Err(error)) if streaming && refuses_streaming(&error) => {
                    return Restart::NoStreaming;
                }
                Some(Err(error)) => {
                    self.trouble(K::KIND, &error);
                    tokio::time::sleep(backoff.next()).await;
                }
                None => return Restart::Server,
            }
        }
    }

    fn handle<K: Convert>(&self, event: Event<K>, listed: &mut Vec<Converted>) {
        match event {
            Event::Init => {
                self.store.lists(K::KIND);
                listed.clear();
            }
            Event::InitApply(object) => listed.extend(object.convert(&self.interner)),
            Event::InitDone => {
                let objects = std::mem::take(listed);
                tracing::debug!(kind = %K::KIND, objects = objects.len(), "listed");
                self.store.update([Update::Replace(K::KIND, objects)]);
            }
            Event::Apply(object) => {
                let name = object.object_name(&self.interner);
                let update = match object.convert(&self.interner) {
                    Some(converted) => Update::Apply(converted),
                    None => Update::Delete(K::KIND, name), // Not ours any more.
                };
                self.store.update([update]);
            }
            Event::Delete(object) => {
                let name = object.object_name(&self.interner);
                self.store.update([Update::Delete(K::KIND, name)]);
            }
        }
    }

    /// A watch that ends is everyday life (time-outs, compaction); one that cannot start is not.
    fn trouble(&self, kind: Kind, error: &Error) {
        match error {
            Error::InitialListFailed(kube::Error::Api(status))
            | Error::WatchStartFailed(kube::Error::Api(status))
                if matches!(status.code, 401 | 403 | 404) =>
            {
                self.health.refused(kind, status.message.clone());
            }
            Error::InitialListFailed(_) | Error::WatchStartFailed(_) => {
                tracing::debug!(%kind, error = %chain(error), "watch failed to start");
                self.health.suspect();
            }
            Error::WatchError(_) | Error::WatchFailed(_) | Error::NoResourceVersion => {
                tracing::debug!(%kind, error = %chain(error), "watch ended");
            }
        }
    }
}

/// Whether the API server does not know `sendInitialEvents`: it says 422 Invalid or 400, or ends the stream
/// with such a status.
fn refuses_streaming(error: &Error) -> bool {
    match error {
        Error::WatchStartFailed(kube::Error::Api(status))
        | Error::InitialListFailed(kube::Error::Api(status)) => matches!(status.code, 400 | 422),
        Error::WatchError(status) => matches!(status.code, 400 | 422),
        _ => false,
    }
}
