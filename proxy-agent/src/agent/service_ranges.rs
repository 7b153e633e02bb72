//! What the API server says of the ranges of Services' addresses, asked beside the main loop.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{node::host_device::Published, observe::kubernetes::RangeReader};

/// How often it is asked again.
const PERIOD: Duration = Duration::from_mins(5);

/// Asks, once the API server is known.
#[derive(Clone, Debug, Default)]
pub struct ServiceRanges(Arc<State>);

#[derive(Debug, Default)]
struct State {
    reader: OnceLock<RangeReader>,
    last: Mutex<(Published, Option<Instant>)>,
    /// A question is on its way.
    busy: AtomicBool,
}

impl ServiceRanges {
    /// From now on asks by this one; without one there is nobody to ask.
    pub fn begin(&self, reader: Option<RangeReader>) {
        match reader {
            Some(reader) => drop(self.0.reader.get_or_init(|| reader)),
            None => self.0.put(Published::Absent),
        }
    }

    /// The last answer. Asks again when it is old, without waiting.
    pub fn published(&self) -> Published {
        let (published, since) = self.0.last();
        if since.is_none_or(|since| since.elapsed() >= PERIOD) {
            self.ask();
        }
        published
    }

    fn ask(&self) {
        let state = Arc::clone(&self.0);
        let Some(reader) = state.reader.get().cloned() else {
            return;
        };
        if state.busy.swap(true, Ordering::Relaxed) {
            return;
        }
        tokio::spawn(async move {
            match reader.read().await {
                Ok(Some(ranges)) => state.put(Published::Ranges(ranges)),
                Ok(None) => state.put(Published::Absent),
                // The watches say that it does not answer.
                Err(error) => tracing::debug!(%error, "ServiceCIDRs not read; retrying"),
            }
            state.busy.store(false, Ordering::Relaxed);
        });
    }
}

impl State {
    fn last(&self) -> (Published, Option<Instant>) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    fn put(&self, published: Published) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != published {
            tracing::info!(?published, "ranges of Services' addresses");
        }
        *last = (published, Some(Instant::now()));
    }
}
