//! Rows of `POLICY_CELLS` that are in force: those that words name.

use std::collections::BTreeSet;

use proxy_common::policy::{
    cells::{Cell, LIST, ROW_STRIDE},
    intervals::IntervalBlock,
    words::{PolicyWord, ROW_FIRST},
};

use super::{tree, words::Words};

/// A row, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Index of its header.
    header: u32,
    /// How many classes it has cells for.
    classes: u32,
}

impl Row {
    /// How many cells it takes.
    fn size(self) -> u32 {
        (1 + self.classes).div_ceil(ROW_STRIDE) * ROW_STRIDE
    }
}

/// The rows in force, by their places.
pub(super) fn in_force(words: &impl Words, cells: &impl Words) -> Vec<Row> {
    let all = (0..words.len()).map(|id| PolicyWord::unpack(words.get(id)));
    let numbers: BTreeSet<u32> = all
        .flat_map(|word| [word.ingress_row, word.egress_row])
        .filter(|row| *row >= ROW_FIRST)
        .collect();
    let rows = numbers.into_iter().map(|number| {
        let header = number.saturating_mul(ROW_STRIDE);
        let behind = cells.len().saturating_sub(header.saturating_add(1));
        let classes = (cells.get(header) as u32).min(behind);
        Row { header, classes }
    });
    rows.collect()
}

/// How many cells rows in force take, and one more than the last of them: which of their cells are zero cannot be told from
/// what nobody uses.
pub(super) fn extent(words: &impl Words, cells: &impl Words) -> (u32, u32) {
    let rows = in_force(words, cells);
    let taken: u32 = rows.iter().map(|row| row.size()).sum();
    let ends = rows.iter().map(|row| row.header + row.size());
    let end = ends.max().unwrap_or(0).min(cells.len());
    (taken.min(cells.len()), end)
}

/// The lists that rows in force name.
pub(super) fn lists(words: &impl Words, cells: &impl Words) -> BTreeSet<u32> {
    let rows = in_force(words, cells).into_iter();
    let all = rows.flat_map(|row| row.header + 1..=row.header + row.classes);
    all.map(|index| Cell::unpack(cells.get(index)))
        .filter(|cell| cell.kind == LIST)
        .map(|cell| cell.list)
        .collect()
}

/// How many blocks these lists take, and one more than the number of the last of them: a list that is gone leaves its blocks as
/// they were.
pub(super) fn blocks<E>(
    words: &impl Words,
    cells: &impl Words,
    read: impl Fn(u32) -> Result<Option<IntervalBlock>, E>,
) -> Result<(u32, u32), E> {
    let mut all = BTreeSet::new();
    for root in lists(words, cells) {
        all.extend(tree::walk(root, &read)?.0);
    }
    let end = all.last().map_or(0, |last| last + 1);
    Ok((all.len() as u32, end))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proxy_common::policy::intervals::Interval;

    use super::*;
    use crate::datapath::MemoryWords;

    #[test]
    fn rows_are_found_by_their_words_however_many_of_their_cells_are_zero() {
        let (mut words, mut cells) = (MemoryWords::new(8), MemoryWords::new(8 * ROW_STRIDE));
        let word = PolicyWord {
            ingress_row: 3,
            egress_row: 5,
            ..PolicyWord::default()
        };
        words.set(2, word.pack());
        cells.set(3 * ROW_STRIDE, 100);
        cells.set(5 * ROW_STRIDE, 63);
        let list = |list| {
            let kind = LIST;
            Cell {
                kind,
                list,
                cookie: 0,
            }
        };
        cells.set(3 * ROW_STRIDE + 100, list(7).pack());
        cells.set(6 * ROW_STRIDE + 1, list(8).pack());
        assert_eq!(extent(&words, &cells), (3 * ROW_STRIDE, 6 * ROW_STRIDE));
        assert_eq!(lists(&words, &cells), BTreeSet::from([7]));
        let list: BTreeMap<u32, IntervalBlock> =
            tree::lay_out(&[Interval::default(); 22], &[7, 30, 9])
                .into_iter()
                .collect();
        let read = |number: u32| Ok::<_, ()>(list.get(&number).copied());
        assert_eq!(blocks(&words, &cells, read), Ok((3, 31)));
    }
}
