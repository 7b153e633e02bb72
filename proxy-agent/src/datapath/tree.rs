//! Interval lists as trees of blocks: how they are laid out, read and searched.

use std::collections::BTreeSet;

use proxy_common::policy::intervals::{
    BLOCK_INTERVALS, Interval, IntervalBlock, LIST_DEPTH, VERDICT_ALLOW,
};

/// How many blocks a list of so many intervals takes.
pub const fn size(intervals: usize) -> usize {
    let mut level = at_least_one(intervals.div_ceil(BLOCK_INTERVALS));
    let mut all = level;
    while level > 1 {
        level = level.div_ceil(BLOCK_INTERVALS);
        all += level;
    }
    all
}

const fn at_least_one(count: usize) -> usize {
    if count == 0 { 1 } else { count }
}

/// The blocks of a list under these numbers ([`size`] of them), the first of which is the root's. What is led to comes
/// before what leads there.
pub fn lay_out(content: &[Interval], numbers: &[u32]) -> Vec<(u32, IntervalBlock)> {
    let mut free = numbers.iter().rev().copied();
    let mut blocks = Vec::with_capacity(numbers.len());
    let mut entries = content.to_vec();
    for level in 0_u8.. {
        let chunks: Vec<&[Interval]> = if entries.is_empty() {
            vec![&[]]
        } else {
            entries.chunks(BLOCK_INTERVALS).collect()
        };
        let above: Vec<Interval> = chunks
            .into_iter()
            .zip(free.by_ref())
            .map(|(chunk, number)| {
                blocks.push((number, block(chunk, level)));
                fence(chunk, number)
            })
            .collect();
        if above.len() <= 1 {
            break;
        }
        entries = above;
    }
    blocks
}

fn block(entries: &[Interval], level: u8) -> IntervalBlock {
    let mut block = IntervalBlock {
        count: entries.len() as u8,
        level,
        ..IntervalBlock::default()
    };
    block.intervals[..entries.len()].copy_from_slice(entries);
    block
}

/// The entry of an inner block that leads to this one.
fn fence(below: &[Interval], number: u32) -> Interval {
    let first = below.first().copied().unwrap_or_default();
    Interval {
        high: 0,
        verdict: 0,
        cookie: number,
        ..first
    }
}

/// The entries in use of a block.
pub fn entries(block: &IntervalBlock) -> &[Interval] {
    let used = usize::from(block.count).min(BLOCK_INTERVALS);
    block.intervals.get(..used).unwrap_or_default()
}

/// All blocks of a list and all its intervals, as far as they can be read.
pub fn walk<E>(
    root: u32,
    read: impl Fn(u32) -> Result<Option<IntervalBlock>, E>,
) -> Result<(BTreeSet<u32>, Vec<Interval>), E> {
    let (mut numbers, mut intervals) = (BTreeSet::new(), Vec::new());
    let mut level = vec![root];
    for _ in 0..LIST_DEPTH {
        let mut below = Vec::new();
        for number in std::mem::take(&mut level) {
            // Whatever a damaged map says, each block is read once.
            if !numbers.insert(number) {
                continue;
            }
            match read(number)? {
                Some(block) if block.level == 0 => intervals.extend(entries(&block)),
                Some(block) => below.extend(entries(&block).iter().map(|fence| fence.cookie)),
                None => {}
            }
        }
        level = below;
    }
    Ok((numbers, intervals))
}

/// The interval that lets this port pass, found as the programs find it.
pub fn search<E>(
    root: u32,
    key: u32,
    read: impl Fn(u32) -> Result<Option<IntervalBlock>, E>,
) -> Result<Option<Interval>, E> {
    let mut number = root;
    for _ in 0..LIST_DEPTH {
        let Some(block) = read(number)? else {
            return Ok(None);
        };
        let below = entries(&block).partition_point(|i| i.key() <= key);
        let last = entries(&block)[..below].last().copied();
        if block.level == 0 {
            let (protocol, port) = ((key >> 16) as u8, key as u16);
            let holds = |i: &Interval| i.protocol == protocol && port <= i.high;
            return Ok(last.filter(|i| holds(i) && i.verdict == VERDICT_ALLOW));
        }
        number = last.map_or(0, |fence| fence.cookie);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, convert::Infallible};

    use proxy_common::policy::intervals::{LIST_LIMIT, key};

    use super::*;
    use crate::model::Protocol;

    fn allow(protocol: Protocol, low: u16, high: u16, cookie: u32) -> Interval {
        Interval::allow(protocol.number(), low, high, cookie)
    }

    fn list(count: usize) -> Vec<Interval> {
        let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        let ports = protocols.into_iter().flat_map(|p| {
            let all = (0..=u16::MAX).step_by(2);
            all.map(move |port| allow(p, port, port, u32::from(port)))
        });
        let mut list: Vec<_> = ports.take(count).collect();
        list.sort_by_key(Interval::key);
        list
    }

    #[test]
    fn every_size_is_laid_out_whole_and_found_again() {
        for count in [0, 1, 21, 22, 441, 442, 1000, 9261, 9262, 98304] {
            let content = list(count);
            let numbers: Vec<u32> = (1..=size(count) as u32).collect();
            let blocks = lay_out(&content, &numbers);
            assert_eq!(blocks.len(), numbers.len(), "{count}");
            assert_eq!(
                blocks.last().map(|(n, _)| *n),
                Some(1),
                "the root comes last"
            );
            let blocks: BTreeMap<u32, IntervalBlock> = blocks.into_iter().collect();
            let read = |n: u32| Ok::<_, Infallible>(blocks.get(&n).copied());
            let (seen, intervals) = walk(1, read).unwrap();
            assert_eq!((seen.len(), &intervals), (numbers.len(), &content));
            for interval in content.iter().step_by(1 + count / 500) {
                let at = |port| search(1, key(interval.protocol, port), read).unwrap();
                assert_eq!(at(interval.low), Some(*interval));
                assert_eq!(at(interval.low + 1), None);
            }
            assert_eq!(search(1, key(1, 8), read).unwrap(), None);
        }
    }

    #[test]
    fn the_most_that_can_be_fits() {
        assert!(list(usize::MAX).len() <= LIST_LIMIT);
        assert!(size(LIST_LIMIT) < 1 << 14);
    }
}
