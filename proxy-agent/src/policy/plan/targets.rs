//! To which class each address goes.

use std::collections::{BTreeMap, HashMap};

use ipnetwork::IpNetwork;
use proxy_common::policy::{
    cells::{ALLOW_ALL, Cell, LIST},
    peers::{PEER_LOCAL_NODE, Peer},
};

use super::{Change, Planner, Selected};
use crate::policy::{
    classes::{ClassId, Classes},
    compiled::Want,
    kernel::Kernel,
    prefix_map::PrefixMap,
    report::PolicyError,
    rows::{RowHandle, Rows},
    vector::VectorId,
};

/// An endpoint goes from this row to another: until its word is stored, what it sees must be old or new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Check {
    pub(super) row: RowHandle,
    pub(super) next: Selected,
}

/// A class that a plan adds.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewClass {
    pub(super) id: ClassId,
    /// The class whose verdict it has in rows that go.
    pub(super) parent: Option<ClassId>,
    pub(super) vector: VectorId,
}

/// Classes chosen so far.
pub(super) struct Targets {
    checks: Vec<Check>,
    canonical: BTreeMap<VectorId, ClassId>,
    /// Classes with higher numbers are left.
    ceiling: ClassId,
    split: HashMap<(Option<ClassId>, VectorId), ClassId>,
    judged: HashMap<(ClassId, ClassId, VectorId), bool>,
    new: HashMap<ClassId, NewClass>,
}

impl Targets {
    pub(super) fn new(classes: &Classes, checks: Vec<Check>) -> Self {
        Self {
            checks,
            canonical: classes.canonical(),
            ceiling: classes.ceiling(),
            split: HashMap::new(),
            judged: HashMap::new(),
            new: HashMap::new(),
        }
    }

    fn is_low(&self, class: ClassId) -> bool {
        class < self.ceiling || self.new.contains_key(&class)
    }

    /// The classes that the plan adds.
    pub(super) fn new_classes(&self) -> impl Iterator<Item = &NewClass> {
        self.new.values()
    }

    /// A class that the plan adds.
    pub(super) fn new_class(&self, class: ClassId) -> Option<&NewClass> {
        self.new.get(&class)
    }

    /// The class before the plan whose verdict a class has in rows that go.
    pub(super) fn ancestor(&self, class: ClassId) -> Option<ClassId> {
        match self.new.get(&class) {
            Some(new) => new.parent,
            None => Some(class),
        }
    }
}

impl Planner<'_> {
    /// The class for addresses of class `now` that are to have `vector`.
    fn target(
        &mut self,
        targets: &mut Targets,
        now: Option<ClassId>,
        vector: VectorId,
    ) -> Result<ClassId, PolicyError> {
        if let Some(class) = targets.canonical.get(&vector).copied() {
            let free = match now {
                None => true,
                Some(now) => self.may_move(targets, now, class, vector)?,
            };
            if free {
                return Ok(class);
            }
        }
        if let Some(now) = now
            && self.classes.vector(now) == Some(vector)
            && targets.is_low(now)
        {
            return Ok(now);
        }
        if let Some(class) = targets.split.get(&(now, vector)) {
            return Ok(*class);
        }
        let id = self.classes.take(vector);
        self.plan.classes.push(id);
        targets.split.insert((now, vector), id);
        targets.canonical.entry(vector).or_insert(id);
        let new = NewClass {
            id,
            parent: now,
            vector,
        };
        targets.new.insert(id, new);
        Ok(id)
    }

    /// Whether every endpoint that changes its row sees, of an address that goes from class `now` to
    /// `class`, its old verdict or its new one.
    fn may_move(
        &mut self,
        targets: &mut Targets,
        now: ClassId,
        class: ClassId,
        vector: VectorId,
    ) -> Result<bool, PolicyError> {
        if now == class {
            return Ok(true);
        }
        if let Some(known) = targets.judged.get(&(now, class, vector)) {
            return Ok(*known);
        }
        let ancestor = targets.ancestor(class);
        let mut free = true;
        for check in targets.checks.clone() {
            let seen = ancestor.map_or(0, |a| self.stored_cell(check.row, a));
            let old = self.stored_cell(check.row, now);
            if !same(seen, old) && !same(seen, self.next_cell(check.next, vector)?) {
                free = false;
                break;
            }
        }
        targets.judged.insert((now, class, vector), free);
        Ok(free)
    }

    fn next_cell(&mut self, next: Selected, vector: VectorId) -> Result<u64, PolicyError> {
        match next {
            Selected::Deny => Ok(Cell::default().pack()),
            Selected::Allow => Ok(ALLOW_ALL),
            Selected::Row(row) => self.cell(row, vector),
        }
    }

    /// Plans the prefixes. Those that go stay for a grace period, saying what would hold without them.
    pub(super) fn plan_prefixes(
        &mut self,
        change: &Change,
        targets: &mut Targets,
    ) -> Result<(), PolicyError> {
        for (prefix, want) in &change.prefixes {
            let exact = self.kernel.cidrs.get(*prefix).copied();
            if exact.is_none() && !want.keep {
                continue;
            }
            let parent = || self.kernel.cidrs.parent(*prefix).map(|(_, p)| p.class);
            let now = exact.map(|p| p.class).or_else(parent);
            let class = self.target(targets, now, want.vector)?;
            if let Some(peer) = self.moved(now, exact, class, want) {
                self.plan.cidrs.push((*prefix, peer));
            }
            if !want.keep {
                self.plan.stale_cidrs.push(*prefix);
            }
        }
        self.check_cidr_room();
        let inner_first = |(prefix, _): &(IpNetwork, Peer)| std::cmp::Reverse(prefix.prefix());
        self.plan.cidrs.sort_by_key(inner_first);
        Ok(())
    }

    /// Prefixes that go stay for a grace period: those that come need room beside them.
    fn check_cidr_room(&mut self) {
        for (ipv6, map) in [(false, "CIDRS4"), (true, "CIDRS6")] {
            let capacity = self.cidr_room[usize::from(ipv6)];
            let there = self.kernel.cidrs.of_family(ipv6) as u32;
            let new = self.plan.cidrs.iter().filter(|(prefix, _)| {
                prefix.is_ipv6() == ipv6 && self.kernel.cidrs.get(*prefix).is_none()
            });
            let (needed, free) = (new.count() as u32, capacity.saturating_sub(there));
            if needed > free {
                self.short.push(PolicyError::NoRoom {
                    map,
                    needed,
                    free,
                    capacity,
                    also: BTreeMap::new(),
                });
            }
        }
    }

    /// Plans the exact entries.
    pub(super) fn plan_addresses(
        &mut self,
        change: &Change,
        targets: &mut Targets,
    ) -> Result<(), PolicyError> {
        let ranges = self.ranges_after();
        for (address, want) in &change.addresses {
            let exact = self.kernel.peers.get(address).copied();
            if !want.keep {
                let Some(exact) = exact else { continue };
                let below = ranges.as_ref().unwrap_or(&self.kernel.cidrs);
                let fall = below.lookup(*address).map(|(_, peer)| peer.class);
                if let Some(class) = fall
                    && self.classes.vector(class) == Some(want.vector)
                    && self.may_move(targets, exact.class, class, want.vector)?
                {
                    self.moves.insert((exact.class, class));
                    self.local_node_moves |= exact.flags & PEER_LOCAL_NODE != 0;
                    self.plan.removed.push(*address);
                    continue;
                }
                self.plan.stale_peers.push(*address);
            }
            let now = self.kernel.class_of(*address);
            let class = self.target(targets, now, want.vector)?;
            if let Some(peer) = self.moved(now, exact, class, want) {
                self.plan.peers.push((*address, peer));
            }
        }
        Ok(())
    }

    /// The prefixes as they will be, if any changes.
    fn ranges_after(&self) -> Option<PrefixMap<Peer>> {
        if self.plan.cidrs.is_empty() {
            return None;
        }
        let mut after = self.kernel.cidrs.clone();
        for (prefix, peer) in &self.plan.cidrs {
            after.insert(*prefix, *peer);
        }
        Some(after)
    }

    /// The entry to write, if it differs from the one there is.
    fn moved(
        &mut self,
        now: Option<ClassId>,
        exact: Option<Peer>,
        class: ClassId,
        want: &Want,
    ) -> Option<Peer> {
        let peer = Peer {
            class,
            flags: want.flags,
        };
        if exact == Some(peer) {
            return None;
        }
        if let Some(now) = now.filter(|now| *now != class) {
            self.moves.insert((now, class));
        }
        let flags = exact.map_or(0, |p| p.flags);
        self.local_node_moves |= (flags ^ want.flags) & PEER_LOCAL_NODE != 0;
        Some(peer)
    }
}

/// What the table says of a class in a row; a class beyond the row is denied.
pub(super) fn stored_cell(kernel: &Kernel, rows: &Rows, row: RowHandle, class: ClassId) -> u64 {
    match rows.all.get(&row) {
        Some(row) if class < row.place.capacity() => kernel.cells.get(row.place.index(class)),
        _ => 0,
    }
}

/// Whether two cells give the same verdicts. Lists are interned: equal lists are one list.
pub(super) fn same(a: u64, b: u64) -> bool {
    let (a, b) = (Cell::unpack(a), Cell::unpack(b));
    a.kind == b.kind && (a.kind != LIST || a.list == b.list)
}
