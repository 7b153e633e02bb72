//! How the consumer learns what to look at. There is no queue: what is dirty is merged until it is taken,
//! so a slow consumer costs no memory and sees each name once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Store;
use crate::model::{Completeness, Dirty};

/// What has changed since the last time; the objects are in the [`Store`].
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Names to look at.
    pub dirty: Dirty,
    /// What has been listed whole by now.
    pub complete: Completeness,
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

    /// Takes what is there, at once.
    pub fn take(&mut self) -> Change {
        let pending = std::mem::take(&mut *self.store.pending());
        Change {
            dirty: pending.dirty,
            complete: self.store.complete(),
        }
    }
}
