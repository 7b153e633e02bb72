//! The lines of the result, and what is aimed at.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::bench::{cells, statistics};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Topic {
    /// Pods of two nodes, by VXLAN: beside a device of the kernel with routes of its own.
    Tunnel,
    /// A pod and an address outside the cluster, in the node's name: beside nftables.
    Masquerade,
    /// A pod with limits: beside the reference plugin `bandwidth`.
    Bandwidth,
    /// Pods of two nodes, by WireGuard: beside a plain device with routes of its own. In an emulated machine where this kernel has none.
    Encryption,
}

impl Topic {
    /// As in the results.
    const fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Masquerade => "masquerade",
            Self::Bandwidth => "bandwidth",
            Self::Encryption => "encryption",
        }
    }

    /// The ratio that a metric is to have at least.
    fn aim(self, metric: &str) -> Option<f64> {
        match (self, metric) {
            (
                Self::Tunnel,
                "connections_per_second" | "requests_per_second" | "throughput_gbit",
            ) => Some(1.0),
            (Self::Masquerade, "connections_per_second") => Some(1.1),
            (Self::Encryption, "throughput_gbit") => Some(0.98),
            _ => None,
        }
    }
}

/// By whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    /// The kernel itself, or the reference plugin.
    Reference,
    /// The reference plugin with the burst that containerd tells.
    TheirBurst,
    /// Weir.
    Weir,
}

impl By {
    /// As in the results.
    const fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::TheirBurst => "reference, containerd's burst",
            Self::Weir => "weir",
        }
    }
}

/// Topic, and what of it.
pub(super) type Circumstances = (Topic, &'static str);

/// All values.
pub(super) type Cells = cells::Cells<Circumstances, By>;

/// One line of the result.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) topic: String,
    /// Family, or direction and limit.
    pub(super) what: String,
    pub(super) metric: String,
    pub(super) path: String,
    /// Median over the rounds.
    pub(super) value: f64,
    /// Median of the rounds' ratios to `reference` in the same round.
    pub(super) ratio_to_reference: f64,
    /// What of that is aimed at, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aim: Option<f64>,
    /// Half of the distance from least to greatest, over the median.
    pub(super) spread: f64,
}

/// All of them, by circumstances and metric.
pub(super) fn of(cells: &Cells) -> Vec<Row> {
    let rows = cells.iter().map(|(circumstances, metric, by, values)| {
        let (topic, what) = circumstances;
        let reference = (circumstances, metric, By::Reference);
        Row {
            topic: topic.name().to_owned(),
            what: what.to_owned(),
            metric: metric.to_owned(),
            path: by.name().to_owned(),
            value: statistics::median(values),
            ratio_to_reference: cells.ratio(values, reference).unwrap_or(f64::NAN),
            aim: topic.aim(metric).filter(|_| by == By::Weir),
            spread: statistics::spread(values),
        }
    });
    rows.collect()
}
