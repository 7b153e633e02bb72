//! Drift: what an outside hand changed: the maps as they are against the picture of what was written to them.
//!
//! Only what a program may read counts: words, cells of rows that words name, lists in use, and entries. What
//! was freed may hold anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;
use proxy_common::policy::{
    intervals::{Interval, IntervalBlock},
    peers::Peer,
    words::PolicyWord,
};

use super::{
    in_words::ports,
    kernel::{Kernel, read_cidrs, read_peers},
    lists::{ListId, Lists},
    plan::{InForce, Selected},
    reclaim::Reclaim,
    report::PolicyError,
    rows::Rows,
};
use crate::datapath::tree;

/// Something that is not as it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed<K, V> {
    /// Which entry.
    pub key: K,
    /// What the map holds.
    pub found: V,
    /// What was written.
    pub right: V,
}

/// All that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Words of endpoints.
    pub words: Vec<Changed<u32, u64>>,
    /// Cells and headers of rows in force, by index.
    pub cells: Vec<Changed<u32, u64>>,
    /// Blocks of lists.
    pub blocks: Vec<Changed<u32, IntervalBlock>>,
    /// Lists with such blocks.
    pub lists: BTreeSet<ListId>,
    /// Exact entries of the side in use.
    pub peers: Vec<Changed<IpAddr, Option<Peer>>>,
    /// Prefixes of it.
    pub cidrs: Vec<Changed<IpNetwork, Option<Peer>>>,
    /// Exact entries of the other side that nobody left there.
    pub stray_peers: Vec<(u32, IpAddr)>,
    /// Likewise.
    pub stray_cidrs: Vec<(u32, IpNetwork)>,
}

impl Drift {
    /// How many entries differ.
    pub fn len(&self) -> usize {
        let strays = self.stray_peers.len() + self.stray_cidrs.len();
        let entries = self.peers.len() + self.cidrs.len();
        self.words.len() + self.cells.len() + self.blocks.len() + entries + strays
    }

    /// Whether all is as it was left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For people: `-` for what is in the maps and should not be, `+` for what should.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for c in &self.words {
            both(
                &mut lines,
                &format!("policy word of endpoint {}", c.key),
                c,
                word,
            );
        }
        for c in &self.cells {
            both(&mut lines, &format!("policy cell {}", c.key), c, |cell| {
                format!("{cell:#x}")
            });
        }
        for c in &self.blocks {
            both(
                &mut lines,
                &format!("policy interval block {}", c.key),
                c,
                block,
            );
        }
        for c in &self.peers {
            sides(
                &mut lines,
                &format!("policy peer {}", c.key),
                c.found,
                c.right,
            );
        }
        for c in &self.cidrs {
            sides(
                &mut lines,
                &format!("policy range {}", c.key),
                c.found,
                c.right,
            );
        }
        let strays = self.stray_peers.iter();
        lines.extend(strays.map(|(side, a)| format!("- policy peer {a}  side {side}")));
        let strays = self.stray_cidrs.iter();
        lines.extend(strays.map(|(side, p)| format!("- policy range {p}  side {side}")));
        lines
    }
}

fn both<K, V: Copy>(
    lines: &mut Vec<String>,
    what: &str,
    changed: &Changed<K, V>,
    say: impl Fn(V) -> String,
) {
    lines.push(format!("- {what}  {}", say(changed.found)));
    lines.push(format!("+ {what}  {}", say(changed.right)));
}

fn sides(lines: &mut Vec<String>, what: &str, found: Option<Peer>, right: Option<Peer>) {
    let say = |sign: char, peer: Peer| {
        format!(
            "{sign} {what}  class {} flags {:#x}",
            peer.class, peer.flags
        )
    };
    lines.extend(found.map(|peer| say('-', peer)));
    lines.extend(right.map(|peer| say('+', peer)));
}

fn word(word: u64) -> String {
    let word = PolicyWord::unpack(word);
    format!(
        "ingress row {}, egress row {}, side {}, epoch {}",
        word.ingress_row, word.egress_row, word.side, word.epoch
    )
}

fn block(block: IntervalBlock) -> String {
    let entry = |entry: &Interval| match block.level {
        0 => ports(entry),
        _ => format!("{} in {}", ports(entry), entry.cookie),
    };
    let used: Vec<_> = tree::entries(&block).iter().map(entry).collect();
    format!("level {}: {}", block.level, used.join(","))
}

/// Compares the maps with the books.
pub fn drift(
    kernel: &Kernel,
    rows: &Rows,
    lists: &Lists,
    reclaim: &Reclaim,
    in_force: &BTreeMap<u32, InForce>,
) -> Result<Drift, PolicyError> {
    let mut drift = Drift {
        words: words(kernel),
        cells: cells(kernel, rows, in_force),
        ..Drift::default()
    };
    compare_lists(kernel, lists, &mut drift)?;
    compare_peers(kernel, reclaim, &mut drift)?;
    compare_cidrs(kernel, reclaim, &mut drift)?;
    Ok(drift)
}

fn words(kernel: &Kernel) -> Vec<Changed<u32, u64>> {
    let known = kernel.words.iter();
    known
        .filter_map(|(id, right)| changed(id, kernel.tables.words.get(id), right))
        .collect()
}

fn cells(
    kernel: &Kernel,
    rows: &Rows,
    in_force: &BTreeMap<u32, InForce>,
) -> Vec<Changed<u32, u64>> {
    live_cells(rows, in_force)
        .filter_map(|index| {
            changed(
                index,
                kernel.tables.cells.get(index),
                kernel.cells.get(index),
            )
        })
        .collect()
}

/// Indexes of the headers and cells of all rows that words name.
pub fn live_cells(rows: &Rows, in_force: &BTreeMap<u32, InForce>) -> impl Iterator<Item = u32> {
    let named: BTreeSet<_> = in_force.values().flat_map(|f| f.rows).collect();
    named.into_iter().flat_map(|selected| {
        let row = match selected {
            Selected::Row(row) => rows.all.get(&row),
            Selected::Deny | Selected::Allow => None,
        };
        row.map_or(0..0, |row| {
            row.place.header()..row.place.index(row.place.capacity())
        })
    })
}

fn compare_lists(kernel: &Kernel, lists: &Lists, drift: &mut Drift) -> Result<(), PolicyError> {
    for (list, number, right) in lists.written_blocks() {
        let found = kernel.tables.intervals.get(&number)?;
        let found = found.unwrap_or_default();
        if let Some(changed) = changed(number, found, right) {
            drift.blocks.push(changed);
            drift.lists.insert(list);
        }
    }
    Ok(())
}

fn compare_peers(kernel: &Kernel, reclaim: &Reclaim, drift: &mut Drift) -> Result<(), PolicyError> {
    let right = kernel.peers.iter().map(|(a, peer)| (a, *peer)).collect();
    let found = read_peers(&kernel.tables)?;
    (drift.peers, drift.stray_peers) = entries(kernel.side, found, right, &reclaim.other_peers());
    Ok(())
}

fn compare_cidrs(kernel: &Kernel, reclaim: &Reclaim, drift: &mut Drift) -> Result<(), PolicyError> {
    let right = kernel.cidrs.iter().map(|(p, peer)| (p, *peer)).collect();
    let found = read_cidrs(&kernel.tables)?;
    (drift.cidrs, drift.stray_cidrs) = entries(kernel.side, found, right, &reclaim.other_cidrs());
    Ok(())
}

/// Entries of the side in use that differ, and strays of the other.
type Entries<K> = (Vec<Changed<K, Option<Peer>>>, Vec<(u32, K)>);

/// Compares what a map of both sides holds with what is `right` on one; on the other, what is `leaving` may be there.
fn entries<K: Copy + Ord>(
    side: u32,
    found: Vec<(u32, K, Peer)>,
    right: BTreeMap<K, Peer>,
    leaving: &BTreeSet<(u32, K)>,
) -> Entries<K> {
    let (mut differ, mut strays) = (Vec::new(), Vec::new());
    let mut missing = right;
    for (of, key, peer) in found {
        if of == side {
            let right = missing.remove(&key);
            differ.extend(changed(key, Some(peer), right));
        } else if !leaving.contains(&(of, key)) {
            strays.push((of, key));
        }
    }
    let missing = missing.into_iter().map(|(key, peer)| Changed {
        key,
        found: None,
        right: Some(peer),
    });
    differ.extend(missing);
    differ.sort_by_key(|changed| changed.key);
    (differ, strays)
}

fn changed<K, V: PartialEq>(key: K, found: V, right: V) -> Option<Changed<K, V>> {
    (found != right).then_some(Changed { key, found, right })
}
