//! The one store of observed objects. Sources write it, the main loop and the API read it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::Instant,
};

use tokio::sync::{Notify, watch};

use super::{Problem, SourceStatus, Update, apply, nodes::kept::Kept};
use crate::{
    config::Ipam,
    model::{Completeness, Dirty, Kind, ObjectName, Snapshot},
};

/// The observed cluster. Cheap to share: `Arc<Store>`.
#[derive(Debug)]
pub struct Store {
    observed: RwLock<apply::Observed>,
    pending: Mutex<Pending>,
    pub(super) wake: Notify,
    status: watch::Sender<SourceStatus>,
    lists: Mutex<BTreeMap<Kind, u64>>,
}

/// Changes that the consumer has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) dirty: Dirty,
    pub(super) completed: bool,
    /// When the first of them arrived.
    pub(super) since: Option<Instant>,
    /// When the first of those arrived that the consumer has taken and is not done with.
    pub(super) in_hand: Option<Instant>,
}

/// Invalid fields by object.
pub type Problems = BTreeMap<(Kind, ObjectName), Vec<Problem>>;

impl Store {
    /// An empty store.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            observed: RwLock::default(),
            pending: Mutex::default(),
            wake: Notify::new(),
            status: watch::Sender::new(SourceStatus::default()),
            lists: Mutex::default(),
        })
    }

    /// An empty store that settles who has which range as nodes' addresses are managed.
    pub fn for_ipam(ipam: Ipam) -> Arc<Self> {
        let store = Self::new();
        let mut observed = store
            .observed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        observed.nodes.claimed_first = ipam == Ipam::Cluster;
        drop(observed);
        store
    }

    /// Takes over what a former agent knew of Nodes. To be called before anything is observed.
    pub fn recall(&self, nodes: Vec<Kept>) {
        let observed = self.observed.write();
        let mut observed = observed.unwrap_or_else(PoisonError::into_inner);
        observed.nodes.recall(nodes);
    }

    /// What the next agent is to know of Nodes, and the version of that; none before they are listed, or if it is `held`.
    pub fn kept_nodes(&self, held: Option<u64>) -> Option<(u64, Vec<Kept>)> {
        let observed = self.read();
        let version = observed.0.nodes.version();
        let listed = observed.complete.has(&[Kind::Node]);
        let wanted = listed && held != Some(version);
        wanted.then(|| (version, observed.0.nodes.kept(Instant::now())))
    }

    /// The snapshot. Hold it briefly: sources wait meanwhile.
    pub fn read(&self) -> SnapshotGuard<'_> {
        SnapshotGuard(self.observed.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A copy of what is invalid, by object.
    pub fn problems(&self) -> Problems {
        self.read().0.problems.clone()
    }

    /// How the source is doing, and a way to wait for changes of that.
    pub fn status(&self) -> watch::Receiver<SourceStatus> {
        self.status.subscribe()
    }

    /// Applies steps of a source, in one step for readers.
    pub fn update(&self, updates: impl IntoIterator<Item = Update>) {
        let mut dirty = Dirty::default();
        let mut observed = self
            .observed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let complete = observed.snapshot.complete.0.len();
        for update in updates {
            observed.update(update, &mut dirty);
        }
        observed.settle(&mut dirty);
        let completed = observed.snapshot.complete.0.len() != complete;
        self.mark(dirty, completed);
    }

    /// Says whether the source has been read whole at least once (a manifest that was never readable may
    /// justify entries which nothing else does).
    pub fn set_partial(&self, partial: bool) {
        let mut observed = self
            .observed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let changed = observed.snapshot.partial != partial;
        observed.snapshot.partial = partial;
        self.mark(Dirty::default(), changed);
    }

    /// The API server does not let us list a kind.
    pub(super) fn refuse(&self, kind: Kind) {
        if self.read().refused.contains(&kind) {
            return;
        }
        let mut observed = self
            .observed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        observed.snapshot.refused.insert(kind);
        self.mark(Dirty::default(), true);
    }

    /// Forgets Nodes whose object has been gone for long. To be called now and then.
    pub fn expire(&self) {
        let now = Instant::now();
        if !self.read().0.nodes.is_due(now) {
            return;
        }
        let mut dirty = Dirty::default();
        let mut observed = self
            .observed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        observed.nodes.expire(now);
        observed.settle(&mut dirty);
        self.mark(dirty, false);
    }

    /// Whether there is a Node of this name and UID, as far as is known: one whose object is gone is not there.
    pub fn has_node(&self, name: &str, uid: &str) -> bool {
        let observed = self.read();
        let node = observed.0.snapshot.nodes.get(name);
        node.is_some_and(|node| node.uid == uid) && !observed.0.nodes.is_gone(name)
    }

    /// A watch has listed its kind.
    pub(super) fn listed(&self, kind: Kind) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        *lists.entry(kind).or_default() += 1;
    }

    /// Relists of each watch: how often it had to list anew.
    pub fn restarts(&self) -> Vec<(Kind, u64)> {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.iter().map(|(kind, n)| (*kind, n - 1)).collect()
    }

    /// Says how the source is doing; true if that is a change.
    pub(super) fn report(&self, source: &str, connected: bool, error: Option<&str>) -> bool {
        let change = |s: &mut SourceStatus| s.change(source, connected, error);
        self.status.send_if_modified(change)
    }

    /// What has been listed whole.
    pub fn complete(&self) -> Completeness {
        self.read().complete.clone()
    }

    /// Since when the oldest change waits that the consumer is not done with.
    pub fn waiting_since(&self) -> Option<Instant> {
        let pending = self.pending();
        pending.in_hand.or(pending.since)
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, dirty: Dirty, completed: bool) {
        if dirty.is_empty() && !completed {
            return;
        }
        let mut pending = self.pending();
        pending.dirty.merge(dirty);
        pending.completed |= completed;
        pending.since.get_or_insert_with(Instant::now);
        drop(pending);
        self.wake.notify_one();
    }
}

/// Read access to the snapshot.
pub struct SnapshotGuard<'a>(RwLockReadGuard<'a, apply::Observed>);

impl std::ops::Deref for SnapshotGuard<'_> {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0.snapshot
    }
}
