//! What was measured, by circumstances, metric and path.

use std::collections::BTreeMap;

use weir_world::load::{Kind, Report};

use super::statistics;

/// All values, in the order of the rounds.
pub(super) struct Cells<C, P> {
    values: BTreeMap<(C, &'static str, P), Vec<f64>>,
}

impl<C, P> Default for Cells<C, P> {
    fn default() -> Self {
        Self {
            values: BTreeMap::new(),
        }
    }
}

impl<C: Copy + Ord, P: Copy + Ord> Cells<C, P> {
    /// Adds what a run says.
    pub(super) fn add(&mut self, circumstances: C, path: P, kind: Kind, report: &Report) {
        for (metric, value) in metrics(kind, report) {
            self.put(circumstances, metric, path, value);
        }
    }

    /// Adds a value.
    pub(super) fn put(&mut self, circumstances: C, metric: &'static str, path: P, value: f64) {
        let values = self
            .values
            .entry((circumstances, metric, path))
            .or_default();
        values.push(value);
    }

    /// All of them, by circumstances, metric and path.
    pub(super) fn iter(&self) -> impl Iterator<Item = (C, &'static str, P, &[f64])> {
        let cells = self.values.iter();
        cells.map(|((circumstances, metric, path), values)| {
            (*circumstances, *metric, *path, values.as_slice())
        })
    }

    /// Median of the ratios to what was measured in the same rounds elsewhere; none if nothing was.
    pub(super) fn ratio(&self, values: &[f64], other: (C, &'static str, P)) -> Option<f64> {
        let pairs = values.iter().zip(self.values.get(&other)?);
        let ratios: Vec<f64> = pairs.map(|(value, other)| value / other).collect();
        Some(statistics::median(&ratios))
    }
}

/// What a run says, by name; the unit is the name's end.
fn metrics(kind: Kind, report: &Report) -> Vec<(&'static str, f64)> {
    match kind {
        Kind::Connect => vec![
            ("connections_per_second", report.rate()),
            ("connection_cpu_us", report.cpu_us_per_request()),
            ("connection_p99_us", report.p99_us),
        ],
        Kind::Request => vec![
            ("requests_per_second", report.rate()),
            ("request_p50_us", report.p50_us),
            ("request_p99_us", report.p99_us),
        ],
        Kind::Bulk => vec![("throughput_gbit", report.rate() * 8.0 / 1e9)],
    }
}

#[cfg(test)]
mod tests {
    use super::Cells;

    #[test]
    fn ratios_are_those_of_the_same_rounds() {
        let mut cells = Cells::default();
        for (own, other) in [(1.0, 2.0), (30.0, 10.0), (6.0, 3.0)] {
            cells.put((), "rate", 1, own);
            cells.put((), "rate", 0, other);
        }
        let ((), _, _, own) = cells.iter().last().unwrap();
        assert_eq!(cells.ratio(own, ((), "rate", 0)), Some(2.0));
        assert_eq!(cells.ratio(own, ((), "other", 0)), None);
    }
}
