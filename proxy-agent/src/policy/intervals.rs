//! Interval lists: unions of port ranges made disjoint and sorted, as the kernel searches them.

use proxy_common::policy::intervals::{BLOCK_INTERVALS, CHAIN_LIMIT, Interval, VERDICT_ALLOW};

use crate::model::Protocol;

/// Longest list that the datapath follows.
pub const LIST_LIMIT: usize = BLOCK_INTERVALS * CHAIN_LIMIT;

/// A list that is longer than [`LIST_LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} separate port ranges, at most {LIST_LIMIT} can be programmed")]
pub struct TooLong(pub usize);

/// An interval that allows ports `low..=high`.
pub fn allow(protocol: Protocol, low: u16, high: u16, cookie: u32) -> Interval {
    Interval {
        low,
        high,
        protocol: protocol.number(),
        verdict: VERDICT_ALLOW,
        pad: 0,
        cookie,
    }
}

/// The union, disjoint and sorted. Where intervals overlap, the first one names the rule. Neighbours of one
/// rule are merged; neighbours of different rules only if the list would not fit otherwise, for that costs
/// the name of the rule.
pub fn normalise(intervals: &[Interval]) -> Result<Vec<Interval>, TooLong> {
    let mut disjoint = Vec::new();
    for interval in intervals.iter().filter(|i| i.low <= i.high) {
        for piece in subtract(*interval, &disjoint) {
            let at = disjoint.partition_point(|d| key(d) < key(&piece));
            disjoint.insert(at, piece);
        }
    }
    let named = merge(&disjoint, |a, b| a.cookie == b.cookie);
    if named.len() <= LIST_LIMIT {
        return Ok(named);
    }
    let short = merge(&disjoint, |_, _| true);
    if short.len() <= LIST_LIMIT {
        return Ok(short);
    }
    Err(TooLong(short.len()))
}

fn key(interval: &Interval) -> (u8, u16) {
    (interval.protocol, interval.low)
}

/// The parts of `interval` that no element of the sorted, disjoint list holds.
fn subtract(interval: Interval, sorted: &[Interval]) -> Vec<Interval> {
    let mut pieces = Vec::new();
    let mut low = u32::from(interval.low);
    let high = u32::from(interval.high);
    let first =
        sorted.partition_point(|d| (d.protocol, d.high) < (interval.protocol, interval.low));
    for taken in &sorted[first..] {
        if taken.protocol != interval.protocol || u32::from(taken.low) > high {
            break;
        }
        if low < u32::from(taken.low) {
            pieces.push(part(interval, low, u32::from(taken.low) - 1));
        }
        low = low.max(u32::from(taken.high) + 1);
    }
    if low <= high {
        pieces.push(part(interval, low, high));
    }
    pieces
}

fn part(interval: Interval, low: u32, high: u32) -> Interval {
    Interval {
        low: low as u16,
        high: high as u16,
        ..interval
    }
}

fn merge(sorted: &[Interval], same: impl Fn(&Interval, &Interval) -> bool) -> Vec<Interval> {
    let mut merged: Vec<Interval> = Vec::with_capacity(sorted.len());
    for interval in sorted {
        match merged.last_mut() {
            Some(last)
                if last.protocol == interval.protocol
                    && last.verdict == interval.verdict
                    && u32::from(last.high) + 1 == u32::from(interval.low)
                    && same(last, interval) =>
            {
                last.high = interval.high;
            }
            _ => merged.push(*interval),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tcp(low: u16, high: u16, cookie: u32) -> Interval {
        allow(Protocol::Tcp, low, high, cookie)
    }

    #[test]
    fn overlaps_keep_the_first_rule() {
        let list = normalise(&[tcp(80, 90, 1), tcp(85, 100, 2), tcp(0, 65535, 3)]).unwrap();
        let expected = [
            tcp(0, 79, 3),
            tcp(80, 90, 1),
            tcp(91, 100, 2),
            tcp(101, 65535, 3),
        ];
        assert_eq!(list, expected);
    }

    #[test]
    fn neighbours_of_one_rule_merge() {
        assert_eq!(
            normalise(&[tcp(81, 81, 1), tcp(80, 80, 1), tcp(82, 82, 2)]).unwrap(),
            [tcp(80, 81, 1), tcp(82, 82, 2)]
        );
    }

    #[test]
    fn names_are_given_up_before_the_list_is_refused() {
        let neighbours: Vec<_> = (0..200).map(|n| tcp(n, n, u32::from(n))).collect();
        assert_eq!(normalise(&neighbours).unwrap(), [tcp(0, 199, 0)]);
        let apart: Vec<_> = (0..161).map(|n| tcp(n * 2, n * 2, 1)).collect();
        assert_eq!(normalise(&apart), Err(TooLong(161)));
        assert_eq!(normalise(&apart[1..]).unwrap().len(), LIST_LIMIT);
    }

    proptest! {
        #[test]
        fn the_union_is_kept(ranges in prop::collection::vec((0_u16..60, 0_u16..20, 0_u8..2), 0..12)) {
            let protocols = [Protocol::Tcp, Protocol::Udp];
            let intervals: Vec<_> = ranges
                .iter()
                .enumerate()
                .map(|(i, (low, len, p))| allow(protocols[usize::from(*p)], *low, low + len, i as u32))
                .collect();
            let list = normalise(&intervals).unwrap();
            for protocol in [6, 17] {
                for port in 0..100 {
                    let holds = |i: &&Interval| i.protocol == protocol && i.low <= port && port <= i.high;
                    let expected = intervals.iter().find(holds).map(|i| i.cookie);
                    let found: Vec<_> = list.iter().filter(holds).map(|i| i.cookie).collect();
                    prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
                }
            }
            prop_assert!(list.is_sorted_by_key(key));
        }
    }
}
