//! What was measured, by path, circumstances and metric.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_world::load::{Kind, Report};

use super::path::Path;
use crate::bench::{bed::Reach, statistics};

/// Circumstances: Services, rules, nodes.
type Circumstances = (usize, usize, u8);

/// Where a value belongs.
type Cell = (Circumstances, &'static str, Path);

/// All values, in the order of the rounds.
#[derive(Default)]
pub(super) struct Cells {
    values: BTreeMap<Cell, Vec<f64>>,
}

/// One line of the result.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) metric: &'static str,
    pub(crate) path: &'static str,
    pub(crate) services: usize,
    pub(crate) rules: usize,
    pub(crate) nodes: u8,
    /// Median over the rounds.
    pub(crate) value: f64,
    /// Median of the rounds' ratios to `bare` in the same round.
    pub(crate) ratio_to_bare: f64,
    /// Median of the rounds' ratios to the same path without rules in the same round; none without rules. That of
    /// `bare`, which has no policy, tells how exact it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_to_no_rules: Option<f64>,
    /// Half of the distance from least to greatest, over the median.
    pub(crate) spread: f64,
}

impl Cells {
    pub(super) fn add(
        &mut self,
        path: Path,
        (services, rules, reach): (usize, usize, Reach),
        kind: Kind,
        report: &Report,
    ) {
        for (metric, value) in metrics(kind, report) {
            self.values
                .entry(((services, rules, reach.nodes()), metric, path))
                .or_default()
                .push(value);
        }
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.values
            .iter()
            .map(|((circumstances, metric, path), values)| {
                let (services, rules, nodes) = *circumstances;
                let bare = (*circumstances, *metric, Path::Bare);
                let free = ((services, 0, nodes), *metric, *path);
                Row {
                    metric,
                    path: path.name(),
                    services,
                    rules,
                    nodes,
                    value: statistics::median(values),
                    ratio_to_bare: self.ratio(values, &bare).unwrap_or(f64::NAN),
                    ratio_to_no_rules: (rules > 0).then(|| self.ratio(values, &free)).flatten(),
                    spread: statistics::spread(values),
                }
            })
            .collect()
    }

    /// Median of the ratios to what was measured in the same rounds.
    fn ratio(&self, values: &[f64], other: &Cell) -> Option<f64> {
        let pairs = values.iter().zip(self.values.get(other)?);
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
