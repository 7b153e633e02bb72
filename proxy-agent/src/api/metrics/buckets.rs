//! Histograms of durations, by their buckets.

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// kube-proxy's buckets of the length of a sync.
pub(super) fn sync() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

/// From 0.25 ms, by a half more each, to some four minutes.
pub(super) fn watch() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 1.5, 35))
}

/// kube-proxy's buckets of network programming: 0.25, 0.5, 1..=59, 60..=115 by 5, 120..=300 by 30.
pub(super) fn programming() -> Histogram {
    let seconds = (1..60)
        .chain((60..120).step_by(5))
        .chain((120..=300).step_by(30));
    Histogram::new([0.25, 0.5].into_iter().chain(seconds.map(f64::from)))
}

/// From 1 ms, twice as much each, to half a minute.
pub(super) fn request() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}
