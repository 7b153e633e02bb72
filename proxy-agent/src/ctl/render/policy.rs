//! `dump policy`: what is in force for each pod of this node, by direction.

use std::collections::{BTreeMap, BTreeSet};

use proxy_common::policy::{
    cells::{ALLOW_ALL, Cell, LIST, ROW_STRIDE},
    intervals::VERDICT_ALLOW,
    words::{PolicyWord, ROW_ALLOW_ALL, ROW_DENY_ALL},
};
use serde::Serialize;

use super::words::named;
use crate::{
    api::messages::Names,
    ctl::output::Row,
    datapath::{Maps, Table as _, TableError, Words as _, tree},
    policy::Direction,
};

/// So many rules are listed in a table's cell.
const LISTED: usize = 3;

/// One direction of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRow {
    /// `namespace/pod`.
    pub pod: String,
    /// Who begins the flows.
    pub direction: Direction,
    /// `open` (nothing isolates the pod), `isolated`, `refused` (everything is denied because a map has no room for a
    /// policy), or `unknown` (everything is denied for now).
    pub state: &'static str,
    /// Rules that allow something, by name.
    pub rules: Vec<String>,
    /// Known addresses of which some port is allowed.
    pub peers: usize,
    /// Endpoint id.
    pub endpoint: u32,
    /// Number of the row.
    pub row: u32,
    /// Classes that the row judges.
    pub classes: u32,
    /// Epoch of the commit.
    pub epoch: u32,
    /// Half of the peer maps in use.
    pub side: u32,
}

impl Row for PolicyRow {
    const KIND: &'static str = "PolicyList";
    const COLUMNS: &'static [&'static str] = &["POD", "DIRECTION", "STATE", "PEERS", "RULES"];
    const WIDE: &'static [&'static str] = &["ENDPOINT", "ROW", "CLASSES", "EPOCH", "SIDE"];

    fn cells(&self) -> Vec<String> {
        let peers = if self.state == "isolated" {
            self.peers.to_string()
        } else {
            String::new()
        };
        let mut rules = self.rules[..self.rules.len().min(LISTED)].join(", ");
        if self.rules.len() > LISTED {
            rules = format!("{rules}, +{}", self.rules.len() - LISTED);
        }
        vec![
            self.pod.clone(),
            self.direction.to_string(),
            self.state.to_owned(),
            peers,
            rules,
        ]
    }

    fn wide(&self) -> Vec<String> {
        let numbers = [self.endpoint, self.row, self.classes, self.epoch, self.side];
        numbers.iter().map(ToString::to_string).collect()
    }

    fn name(&self) -> String {
        format!("{}/{}", self.pod, self.direction)
    }
}

/// Both directions of every endpoint, sorted by pod.
pub fn rows(maps: &Maps, names: &Names) -> Result<Vec<PolicyRow>, TableError> {
    let addresses = addresses(maps)?;
    let mut rows = Vec::new();
    for (endpoint, _) in maps.endpoints.entries()? {
        let word = PolicyWord::unpack(maps.policy_words.get(endpoint));
        for (direction, row) in [
            (Direction::Ingress, word.ingress_row),
            (Direction::Egress, word.egress_row),
        ] {
            let judged = judged(maps, row)?;
            let known = |class: &u32| addresses.get(&(word.side, *class)).copied().unwrap_or(0);
            let rules: BTreeSet<String> = judged
                .cookies
                .iter()
                .map(|c| named(&names.cookies, *c))
                .collect();
            rows.push(PolicyRow {
                pod: named(&names.endpoints, endpoint),
                direction,
                state: match row {
                    ROW_DENY_ALL if is_refused(names, endpoint, direction) => "refused",
                    ROW_DENY_ALL => "unknown",
                    ROW_ALLOW_ALL => "open",
                    _ => "isolated",
                },
                rules: rules.into_iter().filter(|rule| !rule.is_empty()).collect(),
                peers: judged.allowed.iter().map(known).sum(),
                endpoint,
                row,
                classes: judged.classes,
                epoch: word.epoch,
                side: word.side,
            });
        }
    }
    rows.sort();
    Ok(rows)
}

fn is_refused(names: &Names, endpoint: u32, direction: Direction) -> bool {
    let closed = names.policy.closed.get(&endpoint);
    closed.is_some_and(|by| by[direction as usize].is_some())
}

/// How many known addresses are of each class, by side.
fn addresses(maps: &Maps) -> Result<BTreeMap<(u32, u32), usize>, TableError> {
    let mut counts = BTreeMap::new();
    maps.peers4
        .visit(|key, peer| *counts.entry((key.side, peer.class)).or_default() += 1)?;
    maps.peers6
        .visit(|key, peer| *counts.entry((key.side, peer.class)).or_default() += 1)?;
    Ok(counts)
}

/// What a row allows.
#[derive(Default)]
struct Judged {
    classes: u32,
    allowed: BTreeSet<u32>,
    cookies: BTreeSet<u32>,
}

fn judged(maps: &Maps, row: u32) -> Result<Judged, TableError> {
    let mut judged = Judged::default();
    if row == ROW_DENY_ALL || row == ROW_ALLOW_ALL {
        return Ok(judged);
    }
    let header = row * ROW_STRIDE;
    judged.classes = maps.policy_cells.get(header) as u32;
    for class in 0..judged.classes {
        let cell = Cell::unpack(maps.policy_cells.get(header + 1 + class));
        let cookies = match cell.kind {
            ALLOW_ALL => BTreeSet::from([cell.cookie]),
            LIST => listed(maps, cell.list)?,
            _ => continue,
        };
        judged.allowed.insert(class);
        judged.cookies.extend(cookies);
    }
    Ok(judged)
}

/// Cookies of the intervals of a list that allow.
fn listed(maps: &Maps, root: u32) -> Result<BTreeSet<u32>, TableError> {
    let (_, intervals) = tree::walk(root, |number| maps.intervals.get(&number))?;
    let allowing = intervals.iter().filter(|i| i.verdict == VERDICT_ALLOW);
    Ok(allowing.map(|i| i.cookie).collect())
}
