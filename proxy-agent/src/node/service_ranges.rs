//! What the API server says of the ranges of Services' addresses, asked beside the main loop.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use super::host_device::Published;
use crate::{
    config::Configuration,
    observe::kubernetes::{RangeReader, ReadRanges},
    watchdog::Watchdog,
};

/// When a question that was not answered is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// Asks, once the API server is known.
#[derive(Clone, Debug, Default)]
pub struct ServiceRanges(Arc<State>);

#[derive(Debug, Default)]
struct State {
    begun: AtomicBool,
    last: Mutex<Published>,
    /// What was last said to be no range.
    problems: Mutex<Vec<String>>,
    /// There is another answer.
    news: Notify,
}

impl ServiceRanges {
    /// From now on asks by this one, and follows what is said; without one there is nobody to ask. Needs a runtime.
    pub fn begin(&self, watchdog: &Watchdog, reader: Option<RangeReader>) {
        let Some(reader) = reader else {
            self.0.put(Published::Absent);
            return;
        };
        if !self.0.begun.swap(true, Ordering::Relaxed) {
            let pulse = watchdog.register("ranges of Services' addresses");
            drop(pulse.spawn(follow(reader, Arc::downgrade(&self.0))));
        }
    }

    /// The last answer.
    pub fn published(&self) -> Published {
        self.0.last().clone()
    }

    /// The last answer; none is asked for where the ranges are configured.
    pub fn published_for(&self, config: &Configuration) -> Published {
        if config.node.service_cidrs.is_empty() {
            self.published()
        } else {
            Published::Unknown
        }
    }

    /// Whether the API server is still to say.
    pub fn awaits(&self, config: &Configuration) -> bool {
        config.node.service_cidrs.is_empty() && self.published() == Published::Unknown
    }

    /// Returns when there is another one. May be dropped at any time.
    pub async fn changed(&self) {
        self.0.news.notified().await;
    }
}

/// Asks again after each change, for as long as anybody wants to know.
async fn follow(reader: RangeReader, state: Weak<State>) {
    loop {
        let read = reader.read().await;
        let Some(state) = state.upgrade() else {
            return;
        };
        let version = match read {
            Ok(Some(read)) => {
                let version = read.version.clone();
                state.take(read);
                Some(version)
            }
            Ok(None) => {
                state.put(Published::Absent);
                None
            }
            Err(error) => {
                // The watches say that it does not answer.
                tracing::debug!(%error, "ServiceCIDRs not read; retrying");
                drop(state);
                sleep(AGAIN).await;
                continue;
            }
        };
        drop(state);
        reader.changed(version.as_deref()).await;
    }
}

impl State {
    fn last(&self) -> MutexGuard<'_, Published> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, read: ReadRanges) {
        let mut known = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        for problem in read.problems.iter().filter(|p| !known.contains(p)) {
            tracing::warn!(problem, "a range of Services' addresses is left out");
        }
        *known = read.problems;
        drop(known);
        self.put(Published::Ranges(read.ranges));
    }

    fn put(&self, published: Published) {
        let mut last = self.last();
        if *last != published {
            tracing::info!(?published, "ranges of Services' addresses");
            *last = published;
            self.news.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_no_range_is_said_once_and_the_others_are_published() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let state = State::default();
        let read = ReadRanges {
            ranges: ["10.96.0.0/16".parse().unwrap()].into(),
            problems: vec!["ServiceCIDR odd: spec.cidrs[0]: no range".to_owned()],
            version: String::new(),
        };
        tracing::subscriber::with_default(subscriber.finish(), || {
            state.take(read.clone());
            state.take(read.clone());
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let warnings = text.lines().filter(|line| line.contains("WARN"));
        let warnings: Vec<_> = warnings.collect();
        assert_eq!(warnings.len(), 1, "{text}");
        assert!(warnings[0].contains("ServiceCIDR odd"), "{text}");
        assert_eq!(*state.last(), Published::Ranges(read.ranges));
    }
}
