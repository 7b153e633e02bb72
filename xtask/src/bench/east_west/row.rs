//! The lines of the result.

use serde::Serialize;

use super::path::Path;
use crate::bench::{cells::Cells, statistics};

/// Circumstances: Services, rules, nodes.
pub(super) type Circumstances = (usize, usize, u8);

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

/// All of them, by circumstances and metric.
pub(super) fn of(cells: &Cells<Circumstances, Path>) -> Vec<Row> {
    let rows = cells.iter().map(|(circumstances, metric, path, values)| {
        let (services, rules, nodes) = circumstances;
        let bare = (circumstances, metric, Path::Bare);
        let free = ((services, 0, nodes), metric, path);
        Row {
            metric,
            path: path.name(),
            services,
            rules,
            nodes,
            value: statistics::median(values),
            ratio_to_bare: cells.ratio(values, bare).unwrap_or(f64::NAN),
            ratio_to_no_rules: (rules > 0).then(|| cells.ratio(values, free)).flatten(),
            spread: statistics::spread(values),
        }
    });
    rows.collect()
}
