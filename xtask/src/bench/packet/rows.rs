//! From rounds to rows.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::Round;
use crate::bench::statistics::{median, spread};

/// What was measured, and under what circumstances.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct Subject {
    /// From where to where.
    pub(super) case: String,
    /// Of which family.
    pub(super) family: String,
    /// TCP, UDP.
    pub(super) protocol: String,
    /// Policy rules in force for the pods.
    pub(super) rules: u16,
    /// Which packets.
    pub(super) metric: String,
}

/// What the bench says.
#[derive(Debug, Deserialize)]
pub(super) struct Measured {
    #[serde(flatten)]
    subject: Subject,
    /// Nanoseconds, the price of measuring taken off.
    value: f64,
}

/// A result.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) subject: Subject,
    /// Median of the rounds in nanoseconds, the price of measuring taken off.
    pub(super) value: f64,
    /// How far the rounds lie apart.
    pub(super) spread: f64,
    /// Beside the same without rules.
    pub(super) ratio_to_no_rules: f64,
    /// Datagrams: beside segments of TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ratio_to_tcp: Option<f64>,
    /// Beside the other commit.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) against: Option<Against>,
}

/// A result beside that of the other commit.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Against {
    /// Theirs: nanoseconds.
    pub(super) theirs: f64,
    /// Ours / theirs: median of the rounds' ratios.
    pub(super) ratio: f64,
    /// How far those lie apart.
    pub(super) ratio_spread: f64,
}

type Values = BTreeMap<Subject, Vec<f64>>;

/// Medians and ratios of all rounds.
pub(super) fn fold(rounds: &[Round]) -> Result<Vec<Row>> {
    let ours = values(rounds.iter().map(|(ours, _)| ours.as_slice()));
    let theirs = values(rounds.iter().filter_map(|(_, theirs)| theirs.as_deref()));
    let row = |subject: &Subject, values: &Vec<f64>| -> Result<Row> {
        let value = median(values);
        let beside = |other: Subject| ours.get(&other).map(|other| value / median(other));
        let free = Subject {
            rules: 0,
            ..subject.clone()
        };
        let tcp = Subject {
            protocol: "TCP".to_owned(),
            ..subject.clone()
        };
        // A connection of TCP has more packets.
        let is_datagram = subject.protocol == "UDP" && subject.metric != "connection";
        Ok(Row {
            subject: subject.clone(),
            value,
            spread: spread(values),
            ratio_to_no_rules: beside(free).context("nothing was measured without rules")?,
            ratio_to_tcp: beside(tcp).filter(|_| is_datagram),
            against: theirs.get(subject).map(|theirs| against(values, theirs)),
        })
    };
    ours.iter()
        .map(|(subject, values)| row(subject, values))
        .collect()
}

fn values<'a>(rounds: impl Iterator<Item = &'a [Measured]>) -> Values {
    let mut values = Values::new();
    for measured in rounds.flatten() {
        let subject = measured.subject.clone();
        values.entry(subject).or_default().push(measured.value);
    }
    values
}

fn against(ours: &[f64], theirs: &[f64]) -> Against {
    let pairs = ours.iter().zip(theirs);
    let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
    Against {
        theirs: median(theirs),
        ratio: median(&ratios),
        ratio_spread: spread(&ratios),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(protocol: &str, rules: u16, value: f64) -> Measured {
        Measured {
            subject: Subject {
                case: "pod to pod".to_owned(),
                family: "IPv4".to_owned(),
                protocol: protocol.to_owned(),
                rules,
                metric: "open".to_owned(),
            },
            value,
        }
    }

    fn round(tcp: f64, udp: f64, with_rules: f64) -> Vec<Measured> {
        let rows = [("TCP", 0, tcp), ("UDP", 0, udp), ("TCP", 9, with_rules)];
        rows.map(|(protocol, rules, value)| measured(protocol, rules, value))
            .into()
    }

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn ratios_are_of_rounds_and_of_rows() {
        let rounds = [
            (round(100.0, 150.0, 110.0), Some(round(200.0, 150.0, 110.0))),
            (round(300.0, 150.0, 330.0), Some(round(400.0, 150.0, 110.0))),
        ];
        let rows = fold(&rounds).unwrap();
        let [tcp, with_rules, udp] = rows.as_slice() else {
            panic!("{rows:?}")
        };
        assert!(near(tcp.value, 200.0) && near(tcp.spread, 0.5), "{tcp:?}");
        let against = tcp.against.unwrap();
        assert!(near(against.theirs, 300.0) && near(against.ratio, 0.625));
        assert!(near(with_rules.ratio_to_no_rules, 1.1), "{with_rules:?}");
        assert!(near(udp.ratio_to_tcp.unwrap(), 0.75) && tcp.ratio_to_tcp.is_none());
    }

    #[test]
    fn json_is_flat() {
        let alone = [(round(1.0, 1.0, 1.0), None)];
        let json = serde_json::to_value(&fold(&alone).unwrap()[0]).unwrap();
        assert_eq!(json["case"], "pod to pod");
        assert!(json.get("ratio").is_none());
        let both = [(round(1.0, 1.0, 1.0), Some(round(2.0, 1.0, 1.0)))];
        let json = serde_json::to_value(&fold(&both).unwrap()[0]).unwrap();
        assert_eq!(json["ratio"], 0.5);
    }
}
