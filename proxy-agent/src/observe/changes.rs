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

    /// Waits for the next change. Safe to drop half-way (`select!`): nothing is lost.
    pub async fn next(&mut self) -> Change {
        loop {
            if self.store.pending().since.is_none() {
                self.store.wake.notified().await;
                continue;
            }
            let due = self.taken.map(|taken| taken + self.coalesce);
            if let Some(due) = due.filter(|due| *due > Instant::now()) {
                tokio::time::sleep_until(due.into()).await;
            }
            return self.take();
        }
    }

    /// Takes what is there, at once. It counts as waiting until [`Self::done`] is called.
    pub fn take(&mut self) -> Change {
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
            complete: self.store.complete(),
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
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_lone_change_waits_for_nothing_and_the_next_ones_are_gathered() {
        let store = Store::new();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        let _inside = runtime.enter();
        let mut changes = Changes::new(Arc::clone(&store), Duration::from_hours(1));
        assert!(changes.next().now_or_never().is_none(), "nothing changed");
        store.set_partial(true);
        assert!(changes.next().now_or_never().is_some());
        store.set_partial(false);
        assert!(changes.next().now_or_never().is_none());
        assert!(changes.take().relisted, "it is there for who asks");
    }
}
