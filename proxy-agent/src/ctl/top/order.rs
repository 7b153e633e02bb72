//! Which rows are shown, and in what order.

use std::cmp::Ordering;

use super::rows::Rate;

/// By which column rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its number: 0 is the name, by the alphabet; others begin with the largest.
    pub column: usize,
    /// The other way round.
    pub reversed: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            column: 1,
            reversed: false,
        }
    }
}

/// The column that is meant by a word: its head in any case, `/s` may be left out where no other column has that name.
pub fn column(heads: &[&str], word: &str) -> Option<usize> {
    let exact = |head: &&str| head.eq_ignore_ascii_case(word);
    let short = |head: &&str| {
        head.strip_suffix("/S")
            .is_some_and(|head| head.eq_ignore_ascii_case(word))
    };
    let place = |is: &dyn Fn(&&str) -> bool| heads.iter().position(is);
    place(&exact).or_else(|| place(&short))
}

/// Keeps the rows whose name has the text in it, in any case, and sorts them. Rows that are alike in the column are sorted
/// by the other numbers, then by name.
pub fn arrange<T: Rate>(mut rows: Vec<T>, filter: &str, order: Order) -> Vec<T> {
    let filter = filter.to_lowercase();
    rows.retain(|row| row.name().to_lowercase().contains(&filter));
    rows.sort_by(|a, b| {
        let first = first(a, b, order.column);
        let first = if order.reversed {
            first.reverse()
        } else {
            first
        };
        first
            .then_with(|| largest(&a.numbers(), &b.numbers()))
            .then_with(|| a.name().cmp(&b.name()))
    });
    rows
}

fn first<T: Rate>(a: &T, b: &T, column: usize) -> Ordering {
    let Some(number) = column.checked_sub(1) else {
        return a.name().cmp(&b.name());
    };
    let of = |row: &T| row.numbers().get(number).copied().unwrap_or_default();
    of(b).total_cmp(&of(a))
}

fn largest(a: &[f64], b: &[f64]) -> Ordering {
    let pairs = a.iter().zip(b).map(|(a, b)| b.total_cmp(a));
    pairs.fold(Ordering::Equal, Ordering::then)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::{output::Row as _, top::rows::DropRate};

    fn row(reason: &'static str, packets_per_second: f64, packets: u64) -> DropRate {
        DropRate {
            reason,
            packets_per_second,
            bytes_per_second: 0.0,
            packets,
            bytes: 0,
            meaning: "",
        }
    }

    #[test]
    fn rows_are_kept_by_name_and_sorted_by_any_column() {
        let rows = vec![
            row("policy-egress", 1.5, 9),
            row("no-backend", 1.5, 20),
            row("policy-ingress", 30.0, 1),
            row("no-flow", 0.0, 20),
        ];
        let names = |filter: &str, column: &str, reversed| -> Vec<String> {
            let column = column_of(column);
            let rows = arrange(rows.clone(), filter, Order { column, reversed });
            rows.iter().map(DropRate::name).collect()
        };
        assert_eq!(
            names("", "packets/s", false),
            ["policy-ingress", "no-backend", "policy-egress", "no-flow"]
        );
        assert_eq!(
            names("", "PACKETS/S", true),
            ["no-flow", "no-backend", "policy-egress", "policy-ingress"]
        );
        assert_eq!(
            names("", "packets", false),
            ["no-backend", "no-flow", "policy-egress", "policy-ingress"]
        );
        assert_eq!(
            names("POL", "reason", false),
            ["policy-egress", "policy-ingress"]
        );
        assert_eq!(
            names("pol", "reason", true),
            ["policy-ingress", "policy-egress"]
        );
        assert_eq!(names("x", "reason", true), Vec::<String>::new());
    }

    fn column_of(word: &str) -> usize {
        column(DropRate::COLUMNS, word).unwrap()
    }

    #[test]
    fn columns_are_named_in_any_case() {
        assert_eq!(column(&["POD", "ASKED/S"], "asked"), Some(1));
        assert_eq!(column(&["REASON", "BYTES/S", "BYTES"], "bytes"), Some(2));
        assert_eq!(column(&["REASON", "BYTES/S", "BYTES"], "Bytes/s"), Some(1));
        assert_eq!(column(&["REASON"], "new"), None);
    }
}
