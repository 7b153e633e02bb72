//! Coalescing: how the consumer learns what to look at. There is no queue: what is dirty is merged until it is taken,
//! so a slow consumer costs no memory and sees each name once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Store,
    store::{Pending, SnapshotGuard},
};
use crate::model::{Completeness, Dirty};

/// What has changed since the last time; the objects are in the [`Store`].
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Names to look at.
    pub dirty: Dirty,
    /// What has been listed whole by now.
    pub complete: Completeness,
    /// Relist: a kind was listed whole, or is refused, or the source has been read whole.
    pub relisted: bool,
    /// When the first of them arrived.
    pub since: Option<Instant>,
}

/// The one consumer's end of a [`Store`].
#[derive(Debug)]
pub struct Changes {
    store: Arc<Store>,
    coalesce: Duration,
    /// When changes were taken last.
    taken: Option<Instant>,
}

impl Changes {
    /// Changes of a store. A lone one waits for nothing; what comes within `coalesce` of the last time is gathered, so
    /// that a crowd is handled at once.
    pub fn new(store: Arc<Store>, coalesce: Duration) -> Self {
        Self {
            store,
            coalesce,
            taken: None,
        }
    }

    /// Waits until there is something to take. Safe to drop half-way (`select!`): nothing is lost.
    pub async fn due(&self) {
        while self.store.pending().since.is_none() {
            self.store.wake.notified().await;
        }
        let due = self.taken.map(|taken| taken + self.coalesce);
        if let Some(due) = due.filter(|due| *due > Instant::now()) {
            tokio::time::sleep_until(due.into()).await;
        }
    }

    /// Takes what is there, at once: all that this snapshot has and no earlier one had, and no more than that, for nothing
    /// is written while it is held. It counts as waiting until [`Self::done`] is called.
    pub fn take(&mut self, snapshot: &SnapshotGuard<'_>) -> Change {
        self.taken = Some(Instant::now());
        let mut pending = self.store.pending();
        let since = pending.since.take();
        let in_hand = pending.in_hand.or(since);
        let taken = std::mem::replace(
            &mut *pending,
            Pending {
                in_hand,
                ..Pending::default()
            },
        );
        drop(pending);
        Change {
            dirty: taken.dirty,
            relisted: taken.completed,
            complete: snapshot.complete.clone(),
            since,
        }
    }

    /// What was taken has been dealt with.
    pub fn done(&mut self) {
        self.store.pending().in_hand = None;
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, thread};

    use futures::FutureExt as _;

    use super::*;
    use crate::{
        model::{Kind, Namespace, ObjectName},
        observe::{Converted, Object, Update},
    };

    #[test]
    fn a_lone_change_waits_for_nothing_and_the_next_ones_are_gathered() {
        let store = Store::new();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        let _inside = runtime.enter();
        let mut changes = Changes::new(Arc::clone(&store), Duration::from_hours(1));
        assert!(changes.due().now_or_never().is_none(), "nothing changed");
        store.set_partial(true);
        assert!(changes.due().now_or_never().is_some());
        changes.take(&store.read());
        store.set_partial(false);
        assert!(changes.due().now_or_never().is_none());
        let change = changes.take(&store.read());
        assert!(change.relisted, "it is there for who asks");
    }

    #[test]
    fn what_is_taken_is_what_the_snapshot_has_while_sources_write() {
        const COUNT: usize = 100_000;
        let store = Store::new();
        let writer = Arc::clone(&store);
        let writer = thread::spawn(move || {
            for number in 0..COUNT {
                writer.update([Update::Apply(Box::new(Converted {
                    kind: Kind::Namespace,
                    name: ObjectName::new("", number.to_string()),
                    object: Some(Object::Namespace(Namespace::default())),
                    triggered: None,
                    problems: Vec::new(),
                }))]);
            }
        });
        let mut changes = Changes::new(Arc::clone(&store), Duration::ZERO);
        let mut taken = BTreeSet::new();
        while taken.len() < COUNT {
            let snapshot = store.read();
            let new = changes.take(&snapshot).dirty.namespaces;
            let known = snapshot.namespaces.len();
            drop(snapshot);
            taken.extend(new);
            assert_eq!(taken.len(), known);
        }
        writer.join().unwrap();
    }
}
