//! Reading a proxy's own metrics (Prometheus text) inside its node.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use anyhow::{Context as _, Result};
use weir_world::Node;

/// Metrics of one moment.
pub(crate) struct Figures(String);

impl Figures {
    /// Reads `127.0.0.1:10249/metrics` of the node.
    pub(crate) fn read(node: &Node) -> Result<Self> {
        let mut stream = node
            .connect(([127, 0, 0, 1], 10249).into())
            .context("connect to the metrics port")?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).context("read metrics")?;
        Ok(Self(text))
    }

    /// Sum of all series of a name.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        let values: Vec<f64> = self
            .series(name)
            .filter_map(|(_, value)| value.parse().ok())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Upper bounds and cumulative counts of a histogram, over all its labels.
    pub(crate) fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (labels, value) in self.series(&format!("{name}_bucket")) {
            let bound = labels
                .split("le=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .and_then(|bound| bound.replace("+Inf", "inf").parse().ok());
            let (Some(bound), Ok(count)) = (bound, value.parse::<f64>()) else {
                continue;
            };
            match buckets
                .iter_mut()
                .find(|(known, _)| known.total_cmp(&bound).is_eq())
            {
                Some((_, total)) => *total += count,
                None => buckets.push((bound, count)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }

    fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, value))
        })
    }
}

/// The value below which a share of the observations between two moments lies, from the buckets' bounds.
pub(crate) fn quantile(before: &[(f64, f64)], after: &[(f64, f64)], share: f64) -> f64 {
    let counts: Vec<(f64, f64)> = after
        .iter()
        .map(|(bound, count)| {
            let earlier = before
                .iter()
                .find(|(known, _)| known.total_cmp(bound).is_eq());
            (*bound, count - earlier.map_or(0.0, |(_, count)| *count))
        })
        .collect();
    let total = counts.last().map_or(0.0, |(_, count)| *count);
    let wanted = total * share;
    let mut below = (0.0, 0.0);
    for (bound, count) in counts {
        if count >= wanted && count > below.1 {
            let part = (wanted - below.1) / (count - below.1);
            return if bound.is_finite() {
                below.0 + (bound - below.0) * part
            } else {
                below.0
            };
        }
        below = (bound, count);
    }
    f64::NAN
}

#[cfg(test)]
mod tests {
    use super::{Figures, quantile};

    const TEXT: &str = "# TYPE a_seconds histogram\na_seconds_bucket{f=\"4\",le=\"0.1\"} 1\n\
                        a_seconds_bucket{f=\"6\",le=\"0.1\"} 2\na_seconds_bucket{f=\"4\",le=\"+Inf\"} 4\n\
                        a_seconds_count 4\na_seconds_sum 1.5\n";

    #[test]
    fn series_are_summed_over_labels() {
        let figures = Figures(TEXT.to_owned());
        assert_eq!(figures.value("a_seconds_sum"), Some(1.5));
        assert_eq!(figures.value("a_seconds"), None);
        assert_eq!(
            figures.buckets("a_seconds"),
            [(0.1, 3.0), (f64::INFINITY, 4.0)]
        );
    }

    #[test]
    fn quantiles_lie_between_bounds() {
        let after = [(1.0, 50.0), (2.0, 100.0), (f64::INFINITY, 100.0)];
        assert!((quantile(&[], &after, 0.5) - 1.0).abs() < 1e-9);
        assert!((quantile(&[], &after, 0.75) - 1.5).abs() < 1e-9);
        assert!((quantile(&after, &after, 0.5)).is_nan());
    }
}
