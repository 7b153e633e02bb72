//! How the consumer learns what to look at. There is no queue: what is dirty is merged until it is taken,
//! so a slow consumer costs no memory and sees each name once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Store, store::Pending};
use crate::model::{Completeness, Dirty};

/// What has changed since the last time; the objects are in the [`Store`].
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Names to look at.
    pub dirty: Dirty,
    /// What has been listed whole by now.
    pub complete: Completeness,
    /// A kind was listed whole, or is refused, or the source has been read whole.
    pub relisted: bool,
    /// When the first of them arrived.
    pub since: Option<Instant>,
}

/// The one consumer's end of a [`Store`].
#[derive(Debug)]
pub struct Changes {
    store: Arc<Store>,
    coalesce: Duration,
}

impl Changes {
    /// Changes of a store, each held back by at most `coalesce` so that what belongs together (a Service and
    /// its slices) is handled at once.
    pub fn new(store: Arc<Store>, coalesce: Duration) -> Self {
        Self { store, coalesce }
    }

    /// Waits for the next change. Safe to drop half-way (`select!`): nothing is lost.
    pub async fn next(&mut self) -> Change {
        loop {
            let since = self.store.pending().since;
            let Some(since) = since else {
                self.store.wake.notified().await;
                continue;
            };
            let due = since + self.coalesce;
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            return self.take();
        }
    }

    /// Takes what is there, at once. It counts as waiting until [`Self::done`] is called.
    pub fn take(&mut self) -> Change {
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
            complete: self.store.complete(),
            since,
        }
    }

    /// What was taken has been dealt with.
    pub fn done(&mut self) {
        self.store.pending().in_hand = None;
    }
}
