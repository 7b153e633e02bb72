//! Interval lists: unions of port ranges made disjoint and sorted, as the kernel searches them.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use proxy_common::policy::intervals::{Interval, LIST_LIMIT};

use crate::model::Protocol;

/// An interval that allows ports `low..=high`.
pub fn allow(protocol: Protocol, low: u16, high: u16, cookie: u32) -> Interval {
    Interval::allow(protocol.number(), low, high, cookie)
}

/// The union, disjoint and sorted. Where intervals overlap, the first one names the rule. Neighbours of one rule are
/// merged; neighbours of different rules only if the list would not fit otherwise, for that costs the name of the rule.
/// Then it fits, whatever the ports.
pub fn normalise(intervals: &[Interval]) -> Vec<Interval> {
    let disjoint = sweep(intervals);
    let named = merge(&disjoint, |a, b| a.cookie == b.cookie);
    if named.len() <= LIST_LIMIT {
        return named;
    }
    merge(&disjoint, |_, _| true)
}

/// Cuts at every edge. What holds a piece is the first of the intervals that do.
fn sweep(intervals: &[Interval]) -> Vec<Interval> {
    let mut order: Vec<usize> = (0..intervals.len())
        .filter(|i| intervals[*i].low <= intervals[*i].high)
        .collect();
    order.sort_by_key(|i| (intervals[*i].key(), *i));
    let mut begin = order.into_iter().peekable();
    let mut open: BTreeSet<usize> = BTreeSet::new();
    let mut ends: BinaryHeap<Reverse<(u32, usize)>> = BinaryHeap::new();
    let mut pieces = Vec::new();
    // Keys below this one are done.
    let mut at = 0;
    loop {
        let next_begin = begin.peek().map(|i| intervals[*i].key());
        let next_end = ends.peek().map(|Reverse((end, _))| *end);
        let edge = match (next_begin, next_end) {
            (None, None) => return pieces,
            (Some(a), Some(b)) => a.min(b),
            (Some(edge), None) | (None, Some(edge)) => edge,
        };
        if let Some(first) = open.first()
            && at < edge
        {
            pieces.push(Interval {
                low: at as u16,
                high: (edge - 1) as u16,
                ..intervals[*first]
            });
        }
        at = edge;
        while let Some(Reverse((_, i))) = ends.peek().filter(|end| end.0.0 == edge) {
            open.remove(i);
            ends.pop();
        }
        while let Some(i) = begin.next_if(|i| intervals[*i].key() == edge) {
            let after = intervals[i].key() + u32::from(intervals[i].high - intervals[i].low) + 1;
            ends.push(Reverse((after, i)));
            open.insert(i);
        }
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
        let list = normalise(&[tcp(80, 90, 1), tcp(85, 100, 2), tcp(0, 65535, 3)]);
        let expected = [
            tcp(0, 79, 3),
            tcp(80, 90, 1),
            tcp(91, 100, 2),
            tcp(101, 65535, 3),
        ];
        assert_eq!(list, expected);
    }

    #[test]
    fn the_last_port_has_a_neighbour_of_another_protocol() {
        let sctp = allow(Protocol::Sctp, 0, 0, 1);
        assert_eq!(
            normalise(&[sctp, tcp(65535, 65535, 1)]),
            [tcp(65535, 65535, 1), sctp]
        );
    }

    #[test]
    fn neighbours_of_one_rule_merge() {
        assert_eq!(
            normalise(&[tcp(81, 81, 1), tcp(80, 80, 1), tcp(82, 82, 2)]),
            [tcp(80, 81, 1), tcp(82, 82, 2)]
        );
    }

    #[test]
    fn names_are_given_up_where_the_list_would_not_fit() {
        let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        let each = |p| (0..=u16::MAX).map(move |n| allow(p, n, n, u32::from(n)));
        let all: Vec<_> = protocols.into_iter().flat_map(each).collect();
        assert_eq!(normalise(&all[..LIST_LIMIT]).len(), LIST_LIMIT);
        let whole = protocols.map(|p| allow(p, 0, u16::MAX, 0));
        assert!(all.len() > LIST_LIMIT);
        let mut expected = whole.to_vec();
        expected.sort_by_key(Interval::key);
        assert_eq!(normalise(&all), expected);
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
            let list = normalise(&intervals);
            for protocol in [6, 17] {
                for port in 0..100 {
                    let holds = |i: &&Interval| i.protocol == protocol && i.low <= port && port <= i.high;
                    let expected = intervals.iter().find(holds).map(|i| i.cookie);
                    let found: Vec<_> = list.iter().filter(holds).map(|i| i.cookie).collect();
                    prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
                }
            }
            prop_assert!(list.is_sorted_by_key(Interval::key));
        }
    }
}
