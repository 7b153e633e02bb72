//! Lists of port intervals: chains of blocks in schema 1, trees in ours. Cells name a list by its first block, or its root,
//! and stay as they are.

use std::{collections::BTreeMap, iter};

use proxy_common::{
    policy::intervals::{Interval, IntervalBlock},
    v1,
};

use crate::datapath::{
    rows,
    table::TableError,
    tree::{self, lay_out},
    words::Words,
};

/// The intervals of each list that rows in force name, by its number.
pub(super) type Lists = BTreeMap<u32, Vec<Interval>>;
/// Blocks by their numbers.
pub(super) type Laid<B> = Vec<(u32, B)>;

/// Lists of schema 1.
pub(super) fn read_chains(
    (words, cells): (&impl Words, &impl Words),
    read: impl Fn(u32) -> Result<Option<v1::IntervalBlock>, TableError>,
) -> Result<Lists, TableError> {
    let lists = rows::lists(words, cells).into_iter();
    lists
        .map(|number| Ok((number, chain(number, &read)?)))
        .collect()
}

/// Our lists.
pub(super) fn read_trees(
    (words, cells): (&impl Words, &impl Words),
    read: impl Fn(u32) -> Result<Option<IntervalBlock>, TableError>,
) -> Result<Lists, TableError> {
    let lists = rows::lists(words, cells).into_iter();
    lists
        .map(|number| Ok((number, tree::walk(number, &read)?.1)))
        .collect()
}

fn chain(
    first: u32,
    read: impl Fn(u32) -> Result<Option<v1::IntervalBlock>, TableError>,
) -> Result<Vec<Interval>, TableError> {
    let (mut number, mut all) = (first, Vec::new());
    for _ in 0..v1::CHAIN_LIMIT {
        let Some(block) = read(number)? else { break };
        let used = usize::from(block.count).min(v1::BLOCK_INTERVALS);
        all.extend_from_slice(&block.intervals[..used]);
        number = block.next;
        if number == 0 {
            break;
        }
    }
    all.sort_by_key(Interval::key);
    Ok(all)
}

/// Blocks of ours.
pub(super) fn up(lists: &Lists) -> Laid<IntervalBlock> {
    place(lists, tree::size, lay_out)
}

/// Blocks of schema 1, and how many lists are too long for it: what does not fit is denied, as all that no list names.
pub(super) fn down(lists: &Lists) -> (Laid<v1::IntervalBlock>, usize) {
    let too_long = lists.values().filter(|list| list.len() > LIMIT).count();
    let cut = lists.iter().map(|(number, list)| {
        let some = list.iter().take(LIMIT).copied();
        (*number, some.collect())
    });
    (place(&cut.collect(), chain_size, lay_out_chain), too_long)
}

const LIMIT: usize = v1::BLOCK_INTERVALS * v1::CHAIN_LIMIT;

fn chain_size(intervals: usize) -> usize {
    intervals.div_ceil(v1::BLOCK_INTERVALS).max(1)
}

fn lay_out_chain(content: &[Interval], numbers: &[u32]) -> Laid<v1::IntervalBlock> {
    let mut parts = content.chunks(v1::BLOCK_INTERVALS);
    let next = numbers.iter().skip(1).copied().chain(iter::once(0));
    let blocks = numbers.iter().zip(next).map(|(number, next)| {
        let part = parts.next().unwrap_or_default();
        let mut block = v1::IntervalBlock {
            count: part.len() as u8,
            next,
            ..v1::IntervalBlock::default()
        };
        block.intervals[..part.len()].copy_from_slice(part);
        (*number, block)
    });
    blocks.collect()
}

/// Each list under its number, and in blocks that no other list has.
fn place<B>(
    lists: &Lists,
    size: impl Fn(usize) -> usize,
    lay_out: impl Fn(&[Interval], &[u32]) -> Laid<B>,
) -> Laid<B> {
    let mut free = (1..).filter(|number| !lists.contains_key(number));
    let mut blocks = Vec::new();
    for (number, content) in lists {
        let more = free.by_ref().take(size(content.len()) - 1);
        let numbers: Vec<u32> = iter::once(*number).chain(more).collect();
        blocks.extend(lay_out(content, &numbers));
    }
    blocks
}

/// How large an array must be for these blocks.
pub(super) fn capacity<B>(blocks: &Laid<B>) -> u32 {
    let last = blocks.iter().map(|(number, _)| *number).max();
    last.map_or(1, |number| number + 1)
}

#[cfg(test)]
mod tests {

    use super::*;

    fn list(count: u16) -> Vec<Interval> {
        let interval = |n: u16| Interval::allow(6, 4 * n, 4 * n + 1, n.into());
        (0..count).map(interval).collect()
    }

    fn lists(sizes: &[u16]) -> Lists {
        let numbers = (1_u32..).map(|n| 3 * n);
        numbers.zip(sizes.iter().map(|size| list(*size))).collect()
    }

    fn chains(lists: &Lists, blocks: &Laid<v1::IntervalBlock>) -> Lists {
        let blocks: BTreeMap<_, _> = blocks.iter().copied().collect();
        let read = |number: u32| Ok(blocks.get(&number).copied());
        let all = lists.keys();
        all.map(|number| (*number, chain(*number, read).unwrap()))
            .collect()
    }

    fn trees(lists: &Lists, blocks: &Laid<IntervalBlock>) -> Lists {
        let blocks: BTreeMap<_, _> = blocks.iter().copied().collect();
        let read = |number: u32| Ok::<_, TableError>(blocks.get(&number).copied());
        let all = lists.keys();
        all.map(|number| (*number, tree::walk(*number, read).unwrap().1))
            .collect()
    }

    #[test]
    fn lists_of_all_sizes_keep_their_numbers_and_intervals_both_ways() {
        let all = lists(&[0, 1, 20, 21, 22, 40, 41, 63, 159, 160]);
        let (old, too_long) = down(&all);
        assert_eq!((chains(&all, &old), too_long), (all.clone(), 0));
        let new = up(&all);
        assert_eq!(trees(&all, &new), all);
        let numbers: std::collections::BTreeSet<u32> = new.iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers.len(), new.len(), "no block is of two lists");
        assert_eq!(capacity(&new), numbers.last().unwrap() + 1);
    }

    #[test]
    fn what_is_too_long_for_schema_1_allows_less() {
        let all = lists(&[161, 1000, 3]);
        let (old, too_long) = down(&all);
        assert_eq!(too_long, 2);
        let chains = chains(&all, &old);
        assert_eq!(chains[&3], list(160));
        assert_eq!((&chains[&6], &chains[&9]), (&list(160), &list(3)));
    }
}
