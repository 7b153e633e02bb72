//! List and watch: a list, the changes that follow it, and a relist when the API server says so (410 Gone).

mod failures;

use std::{fmt::Debug, pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _};
use kube::{
    Api, Resource,
    runtime::watcher::{self, Error, Event},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use self::failures::{Failure, Failures};
use super::{
    health::Health,
    servers::{Server, Servers},
};
use crate::{
    observe::{Converted, Store, Update, convert::Convert, intern::Interner},
    watchdog::Watchdog,
};

/// How long a list may make no progress. Longer than an answer to a request may take, which says more.
const LIST_PATIENCE: Duration = Duration::from_secs(40);

/// What each watch works with.
#[derive(Clone)]
pub(super) struct Follower {
    pub(super) store: Arc<Store>,
    pub(super) servers: Arc<Servers>,
    pub(super) health: Arc<Health>,
    pub(super) interner: Arc<Interner>,
    pub(super) watchdog: Watchdog,
}

/// Why a watch has to be started anew.
enum Restart {
    /// Another API server is in use, or the same by new connections; or it has forgotten where we were.
    Anew,
    /// This API server cannot stream lists (`WatchList` is off), or does not come to their end.
    Paging,
}

/// What comes next.
enum Next<K> {
    Event(Event<K>),
    /// It goes on after a pause.
    Failed(Failure),
    /// It has to begin anew after a pause.
    Over(Failure, Restart),
    Restart(Restart),
}

/// The objects of a list that is not complete.
type List = Option<Vec<Converted>>;

impl Follower {
    /// Follows one kind for ever. Lists are streamed where the API server can, so that no list is ever in
    /// memory whole, and paged elsewhere.
    pub(super) fn follow<K>(&self, tasks: &mut JoinSet<()>, config: watcher::Config)
    where
        K: Convert + Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let pulse = self.watchdog.register(format!("watch of {}", K::KIND));
        let follower = self.clone();
        pulse.spawn_in(
            tasks,
            async move { follower.follow_anew::<K>(config).await },
        );
    }

    #[expect(clippy::infinite_loop, reason = "ends with its task")]
    async fn follow_anew<K>(&self, config: watcher::Config)
    where
        K: Convert + Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut failures = Failures::default();
        let mut servers = self.servers.changes();
        let mut streaming = true;
        loop {
            let config = if streaming {
                config.clone().streaming_lists()
            } else {
                config.clone()
            };
            let server = Arc::clone(&servers.borrow_and_update());
            let events = watcher::watcher(Api::<K>::all(server.watches.clone()), config);
            streaming = match self.watch(events, &mut servers, &mut failures).await {
                Restart::Anew => true,
                Restart::Paging => {
                    tracing::debug!(kind = %K::KIND, "no streaming lists here: paging");
                    false
                }
            };
        }
    }

    async fn watch<K: Convert>(
        &self,
        events: impl Stream<Item = Result<Event<K>, Error>>,
        servers: &mut watch::Receiver<Arc<Server>>,
        failures: &mut Failures,
    ) -> Restart {
        let mut events = pin!(events);
        let mut list = List::None;
        loop {
            let next = tokio::select! {
                next = next(&mut events, &list) => next,
                _ = servers.changed() => return Restart::Anew,
            };
            let (failure, over) = match next {
                Next::Restart(restart) => return restart,
                Next::Event(Event::Init) if list.is_some() => {
                    (Failure::new("a list ended half-way"), None)
                }
                Next::Event(event) => {
                    if self.handle(event, &mut list) {
                        failures.reset();
                        self.health.works(K::KIND);
                    }
                    continue;
                }
                Next::Failed(failure) => {
                    list = None;
                    (failure, None)
                }
                Next::Over(failure, restart) => (failure, Some(restart)),
            };
            self.tell::<K>(failure, failures);
            if self.pause(servers, failures).await {
                return Restart::Anew;
            }
            if let Some(restart) = over {
                return restart;
            }
            if list.is_some() && failures.is_persistent() {
                return Restart::Paging;
            }
            list = list.map(|_| Vec::new());
        }
    }

    /// A failure may mean that the API server is gone.
    fn tell<K: Convert>(&self, failure: Failure, failures: &mut Failures) {
        let kind = K::KIND;
        tracing::debug!(%kind, error = failure.why, "watch failed");
        if failure.is_refusal() {
            self.store.refuse(kind);
        }
        if failures.add(&failure) {
            self.health.fails(kind, failure.why);
        } else {
            self.servers.suspect();
        }
    }

    /// Waits before the next attempt, or until the API server answers again; true if it is another one.
    async fn pause(
        &self,
        servers: &mut watch::Receiver<Arc<Server>>,
        failures: &mut Failures,
    ) -> bool {
        let mut recoveries = self.servers.recoveries();
        tokio::select! {
            () = sleep(failures.pause()) => false,
            _ = recoveries.changed() => false,
            _ = servers.changed() => true,
        }
    }

    /// Takes an event; true if the watch works.
    fn handle<K: Convert>(&self, event: Event<K>, list: &mut List) -> bool {
        let update = match event {
            Event::Init => {
                *list = Some(Vec::new());
                return false;
            }
            Event::InitApply(object) => {
                let objects = list.get_or_insert_default();
                objects.extend(object.convert(&self.interner));
                return false;
            }
            Event::InitDone => {
                let objects = list.take().unwrap_or_default();
                tracing::debug!(kind = %K::KIND, objects = objects.len(), "listed");
                self.store.listed(K::KIND);
                Update::Replace(K::KIND, objects)
            }
            Event::Apply(object) => {
                let name = object.object_name(&self.interner);
                match object.convert(&self.interner) {
                    Some(converted) => Update::Apply(Box::new(converted)),
                    None => Update::Delete(K::KIND, name), // Not ours any more.
                }
            }
            Event::Delete(object) => Update::Delete(K::KIND, object.object_name(&self.interner)),
        };
        self.store.update([update]);
        true
    }
}

/// The next event. While a list is open it must not take long.
async fn next<K>(
    events: &mut (impl Stream<Item = Result<Event<K>, Error>> + Unpin),
    list: &List,
) -> Next<K> {
    let event = if list.is_none() {
        events.next().await
    } else if let Ok(event) = timeout(LIST_PATIENCE, events.next()).await {
        event
    } else {
        let why = format!("a list made no progress within {LIST_PATIENCE:?}");
        return Next::Over(Failure::new(why), Restart::Paging);
    };
    match event {
        Some(Ok(event)) => Next::Event(event),
        Some(Err(error)) if refuses_streaming(&error) => Next::Restart(Restart::Paging),
        Some(Err(error)) if is_gone(&error) => Next::Over(Failure::of(&error), Restart::Anew),
        Some(Err(error)) => Next::Failed(Failure::of(&error)),
        None => Next::Restart(Restart::Anew),
    }
}

/// Whether a watch cannot begin where the last one ended. The library relists only if the stream says so.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410)
}

/// Whether the API server does not know `sendInitialEvents`: it says 422 Invalid or 400, or ends the stream
/// with such a status.
fn refuses_streaming(error: &Error) -> bool {
    match error {
        Error::WatchStartFailed(kube::Error::Api(status)) => matches!(status.code, 400 | 422),
        Error::WatchError(status) => matches!(status.code, 400 | 422),
        _ => false,
    }
}
