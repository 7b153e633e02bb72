//! What a former agent left in the maps.
//!
//! The words are believed: which rows and which side are in use, and the epochs. Of the rest only the
//! extent is taken, to stay clear of it until the words have been stored anew.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use proxy_common::policy::{
    cells::{Cell, LIST, ROW_STRIDE},
    words::{PolicyWord, ROW_ALLOW_ALL, ROW_DENY_ALL, ROW_FIRST},
};

use super::{
    kernel::{Kernel, read_cidrs, read_peers, remove_cidr, remove_peer},
    lists::Lists,
    plan::{InForce, Selected},
    reclaim::Reclaim,
    report::PolicyError,
    row::Program,
    rows::{Place, Row, RowHandle, Rows},
};
use crate::datapath::tree;

/// Reads the maps: gives what judges each endpoint. Chooses the side to build on: the one that no word
/// names; if words name both (a former agent died between two stores), the one that most of them name.
pub fn restore(
    kernel: &mut Kernel,
    rows: &mut Rows,
    lists: &mut Lists,
    reclaim: &mut Reclaim,
) -> Result<BTreeMap<u32, InForce>, PolicyError> {
    let words = read_words(kernel);
    let users = |side| words.values().filter(|w| w.side == side).count();
    let users = [users(0), users(1)];
    kernel.side = match users {
        [0, _] => 0,
        [_, 0] => 1,
        [a, b] => u32::from(b > a),
    };
    for (id, word) in &words {
        kernel.words.set(*id, word.pack());
    }
    let in_force = adopt_rows(&words, kernel, rows, lists)?;
    let in_use = users[kernel.side as usize] > 0;
    adopt_entries(kernel, reclaim, in_use)?;
    Ok(in_force)
}

fn read_words(kernel: &Kernel) -> BTreeMap<u32, PolicyWord> {
    let words = &kernel.tables.words;
    (1..words.len())
        .map(|id| (id, words.get(id)))
        .filter(|(_, word)| *word != 0)
        .map(|(id, word)| (id, PolicyWord::unpack(word)))
        .collect()
}

fn adopt_rows(
    words: &BTreeMap<u32, PolicyWord>,
    kernel: &mut Kernel,
    rows: &mut Rows,
    lists: &mut Lists,
) -> Result<BTreeMap<u32, InForce>, PolicyError> {
    let mut known: BTreeMap<(u32, u32), RowHandle> = BTreeMap::new();
    let mut select = |number, side| {
        Ok::<_, PolicyError>(match number {
            ROW_DENY_ALL => Selected::Deny,
            ROW_ALLOW_ALL => Selected::Allow,
            _ => Selected::Row(match known.entry((number, side)) {
                Entry::Occupied(row) => *row.get(),
                Entry::Vacant(free) => *free.insert(adopt_row(number, side, kernel, rows, lists)?),
            }),
        })
    };
    let mut in_force = BTreeMap::new();
    for (id, word) in words {
        let side = word.side;
        let rows = [
            select(word.ingress_row, side)?,
            select(word.egress_row, side)?,
        ];
        in_force.insert(*id, InForce { rows, side });
    }
    Ok(in_force)
}

fn adopt_row(
    number: u32,
    side: u32,
    kernel: &mut Kernel,
    rows: &mut Rows,
    lists: &mut Lists,
) -> Result<RowHandle, PolicyError> {
    let Kernel {
        tables,
        cells: picture,
        ..
    } = kernel;
    let cells = &tables.cells;
    let header = number.saturating_mul(ROW_STRIDE);
    let classes = (cells.get(header) as u32).min(cells.len().saturating_sub(header + 1));
    let mut row = Row::new(None, Program::default(), side);
    row.place = Place {
        number: number.max(ROW_FIRST),
        span: (1 + classes).div_ceil(ROW_STRIDE),
    };
    rows.mark(row.place);
    let mut roots = BTreeSet::new();
    for index in header..header + row.place.span * ROW_STRIDE {
        picture.set(index, cells.get(index));
    }
    for class in 0..classes {
        let cell = Cell::unpack(cells.get(header + 1 + class));
        if cell.kind == LIST {
            roots.insert(cell.list);
        }
    }
    let mut blocks = BTreeSet::new();
    for root in roots {
        let (numbers, _) = tree::walk(root, |number| tables.intervals.get(&number))?;
        blocks.extend(numbers);
    }
    for number in &blocks {
        lists.slots().mark(*number, 1);
    }
    row.foreign_blocks = blocks.into_iter().collect();
    Ok(rows.add(row))
}

/// Takes over the entries of the side to build on if words name it, else clears that side. The other side
/// goes when no word names it any more.
fn adopt_entries(
    kernel: &mut Kernel,
    reclaim: &mut Reclaim,
    in_use: bool,
) -> Result<(), PolicyError> {
    let (mut other_peers, mut other_cidrs) = (Vec::new(), Vec::new());
    for (side, address, peer) in read_peers(&kernel.tables)? {
        if side != kernel.side {
            other_peers.push((side, address));
        } else if in_use {
            kernel.classes.adopt(peer.class);
            kernel.classes.enter(peer.class);
            kernel.peers.insert(address, peer);
        } else {
            remove_peer(&mut kernel.tables, side, address)?;
        }
    }
    for (side, prefix, peer) in read_cidrs(&kernel.tables)? {
        if side != kernel.side {
            other_cidrs.push((side, prefix));
        } else if in_use {
            kernel.classes.adopt(peer.class);
            kernel.classes.enter(peer.class);
            kernel.cidrs.insert(prefix, peer);
        } else {
            remove_cidr(&mut kernel.tables, side, prefix)?;
        }
    }
    reclaim.leave_side(other_peers, other_cidrs);
    Ok(())
}
