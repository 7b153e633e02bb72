//! What a metric is, for its reference: read from its type and its registration.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Unit,
};

/// A metric as it is registered.
#[derive(Debug)]
pub struct Series {
    /// `weir`.
    pub prefix: &'static str,
    /// Without what its unit and its kind add.
    pub name: &'static str,
    /// Its unit, where it is not a number of things.
    pub unit: Option<Unit>,
    /// Its kind.
    pub kind: SeriesKind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

impl Series {
    /// The name that Prometheus asks for; a histogram has `_bucket`, `_sum` and `_count` behind it.
    pub fn full_name(&self) -> String {
        let unit = self.unit.as_ref().map(|unit| format!("_{}", unit.as_str()));
        let total = match self.kind {
            SeriesKind::Counter => "_total",
            SeriesKind::Gauge | SeriesKind::Histogram => "",
        };
        let unit = unit.unwrap_or_default();
        format!("{}_{}{unit}{total}", self.prefix, self.name)
    }
}

/// Kinds of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Spread over buckets.
    Histogram,
}

impl SeriesKind {
    /// As `/metrics` says it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A type of metrics.
pub(super) trait Described {
    const KIND: SeriesKind;
    const LABELS: &'static [&'static str] = &[];
}

/// A set of labels.
pub(super) trait Labelled {
    const LABELS: &'static [&'static str];
}

impl Described for Counter {
    const KIND: SeriesKind = SeriesKind::Counter;
}

impl Described for Gauge {
    const KIND: SeriesKind = SeriesKind::Gauge;
}

impl Described for Gauge<f64, AtomicU64> {
    const KIND: SeriesKind = SeriesKind::Gauge;
}

impl Described for Histogram {
    const KIND: SeriesKind = SeriesKind::Histogram;
}

impl<Labels: Labelled, Metric: Described, Constructor> Described
    for Family<Labels, Metric, Constructor>
{
    const KIND: SeriesKind = Metric::KIND;
    const LABELS: &'static [&'static str] = Labels::LABELS;
}

#[cfg(test)]
mod tests {
    use crate::api::metrics::{Metrics, SERIES};

    #[test]
    fn what_is_shown_is_described() {
        let text = Metrics::new().encode().unwrap();
        let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let told = told.filter(|line| !line.starts_with("weir_build "));
        for line in told {
            let (name, kind) = line.split_once(' ').unwrap();
            let is_it = |full: &str| full == name || full.strip_suffix("_total") == Some(name);
            let mut described = SERIES.iter();
            let found = described.find(|series| is_it(&series.full_name()));
            assert_eq!(found.map(|series| series.kind.word()), Some(kind), "{name}");
        }
    }
}
