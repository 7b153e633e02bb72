//! What the API server says of the ranges of Services' addresses, asked beside the main loop.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::host_device::Published;
use crate::observe::kubernetes::{RangeReader, ReadRanges};

/// How often it is asked again.
const PERIOD: Duration = Duration::from_mins(5);

/// Asks, once the API server is known.
#[derive(Clone, Debug, Default)]
pub struct ServiceRanges(Arc<State>);

#[derive(Debug, Default)]
struct State {
    reader: OnceLock<RangeReader>,
    last: Mutex<(Published, Option<Instant>)>,
    /// What was last said to be no range.
    problems: Mutex<Vec<String>>,
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
                Ok(Some(read)) => state.take(read),
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
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != published {
            tracing::info!(?published, "ranges of Services' addresses");
        }
        *last = (published, Some(Instant::now()));
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
        assert_eq!(state.last().0, Published::Ranges(read.ranges));
    }
}
