//! What was measured, by path, circumstances and metric.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_world::load::{Kind, Report};

use super::path::Path;
use crate::bench::{bed::Reach, statistics};

/// Circumstances: Services, rules, nodes.
type Circumstances = (usize, usize, u8);

/// All values, in the order of the rounds.
#[derive(Default)]
pub(super) struct Cells {
    values: BTreeMap<(Circumstances, &'static str, Path), Vec<f64>>,
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
                let bare = self.values.get(&(*circumstances, *metric, Path::Bare));
                let ratios: Vec<f64> = values
                    .iter()
                    .zip(bare.into_iter().flatten())
                    .map(|(value, bare)| value / bare)
                    .collect();
                Row {
                    metric,
                    path: path.name(),
                    services,
                    rules,
                    nodes,
                    value: statistics::median(values),
                    ratio_to_bare: statistics::median(&ratios),
                    spread: statistics::spread(values),
                }
            })
            .collect()
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
