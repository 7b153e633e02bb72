//! From rounds to rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bench::statistics::{median, spread};

/// What a program did for a packet.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct Subject {
    /// Of which family.
    pub(super) family: String,
    /// Which flows: `one`, `random` of many, `new` ones.
    pub(super) keys: String,
    /// What was done.
    pub(super) case: String,
}

/// What the bench says.
#[derive(Debug, Deserialize)]
pub(super) struct Measured {
    #[serde(flatten)]
    subject: Subject,
    /// Nanoseconds, that of sending the packet included.
    value: f64,
}

/// A result.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) subject: Subject,
    /// Median of the rounds in nanoseconds, that of sending the packet included.
    pub(super) value: f64,
    /// How far the rounds lie apart.
    pub(super) spread: f64,
    /// Nanoseconds more than the bare program takes for such packets: the median of the rounds' differences.
    pub(super) more: f64,
    /// Beside the whole of what it is to be compared with: the bare program, or the small balancer.
    pub(super) ratio: f64,
}

/// What sends a frame back, and what drops it.
const BACK: &str = "sent back, no more";
const DROP: &str = "dropped, no more";
/// What relays as little as can be, and what relays here.
const BALANCER: &str = "hash, Maglev, IPIP";
const DIRECT: &str = "direct server return";
/// What drops here.
const REFUSED: &str = "refused by source ranges";

type Values = BTreeMap<Subject, Vec<f64>>;

/// Medians, differences and ratios of all rounds.
pub(super) fn fold(rounds: &[Vec<Measured>]) -> Vec<Row> {
    let mut values = Values::new();
    for measured in rounds.iter().flatten() {
        let of_subject = values.entry(measured.subject.clone()).or_default();
        of_subject.push(measured.value);
    }
    let rows = values
        .iter()
        .map(|(subject, own)| row(subject, own, &values));
    rows.collect()
}

fn row(subject: &Subject, own: &[f64], values: &Values) -> Row {
    let named = |case: &str, keys: &str| {
        let other = Subject {
            case: case.to_owned(),
            keys: keys.to_owned(),
            ..subject.clone()
        };
        values.get(&other)
    };
    let is_drop = [DROP, REFUSED].contains(&subject.case.as_str());
    // Flows are begun by packets that are others each time: the bare one does the same to those of one flow.
    let bare = if is_drop {
        named(DROP, &subject.keys)
    } else {
        named(BACK, &subject.keys).or_else(|| named(BACK, "one"))
    };
    let beside = named(BALANCER, &subject.keys).filter(|_| subject.case == DIRECT);
    let pairs = |other: Option<&Vec<f64>>, of: fn(f64, f64) -> f64| {
        let other = other.into_iter().flatten();
        let all: Vec<f64> = own.iter().zip(other).map(|(a, b)| of(*a, *b)).collect();
        median(&all)
    };
    Row {
        subject: subject.clone(),
        value: median(own),
        spread: spread(own),
        more: pairs(bare, |own, bare| own - bare),
        ratio: pairs(beside.or(bare), |own, other| own / other),
    }
}

#[cfg(test)]
mod tests {
    use super::{BACK, BALANCER, DIRECT, DROP, Measured, REFUSED, Subject, fold};

    fn measured(case: &str, keys: &str, value: f64) -> Measured {
        Measured {
            subject: Subject {
                family: "IPv4".to_owned(),
                keys: keys.to_owned(),
                case: case.to_owned(),
            },
            value,
        }
    }

    #[test]
    fn each_is_beside_what_does_least_of_its_kind() {
        let round = |add: f64| {
            vec![
                measured(BACK, "one", 20.0 + add),
                measured(DROP, "new", 10.0 + add),
                measured(BALANCER, "one", 40.0 + add),
                measured(DIRECT, "one", 60.0 + add),
                measured(REFUSED, "new", 30.0 + add),
                measured("begun", "new", 120.0 + add),
            ]
        };
        let rows = fold(&[round(0.0), round(0.0), round(20.0)]);
        let of = |case: &str| {
            let row = rows.iter().find(|row| row.subject.case == case).unwrap();
            (row.value, row.more, row.ratio)
        };
        assert_eq!(of(DIRECT), (60.0, 40.0, 1.5));
        assert_eq!(of(REFUSED), (30.0, 20.0, 3.0));
        assert_eq!(of("begun"), (120.0, 100.0, 6.0));
        assert_eq!(of(BACK), (20.0, 0.0, 1.0));
    }
}
