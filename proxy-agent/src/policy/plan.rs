//! Plans: the ordered writes that take the maps from what they hold to what they should.
//!
//! Order and why no step shows half a change: lists and cells first, which nothing refers to yet; then
//! classes of addresses, where a class that is new to a row to be replaced has the verdict of the class it
//! was split from; then one store per endpoint. What is replaced stays until a grace period has passed.

mod cells;
pub mod moves;
mod rows;
mod targets;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use ipnetwork::IpNetwork;
use proxy_common::policy::peers::Peer;

use super::{
    classes::{ClassId, Classes},
    compiled::{Compiled, Want},
    cookie::Cookies,
    kernel::Kernel,
    lists::Lists,
    report::PolicyError,
    row::RowKey,
    rows::{RowHandle, Rows},
    vector::VectorId,
};
use moves::Moves;
use targets::Targets;

/// What judges an endpoint in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selected {
    /// Row 0.
    Deny,
    /// Row 1.
    Allow,
    /// A compiled row.
    Row(RowHandle),
}

/// What should judge an endpoint in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Row 0.
    Deny,
    /// Row 1.
    Allow,
    /// The row of this key.
    Row(Arc<RowKey>),
}

/// Rows of an endpoint, ingress first, as its word has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Ingress and egress.
    pub rows: [Selected; 2],
    /// Which half of `PEERS*` and `CIDRS*` the word names.
    pub side: u32,
}

/// What should be.
#[derive(Debug, Default)]
pub struct Change {
    /// All entries are listed, in terms of new atoms; else only those that may differ.
    pub all: bool,
    /// Exact entries.
    pub addresses: Vec<(IpAddr, Want)>,
    /// Prefixes.
    pub prefixes: Vec<(IpNetwork, Want)>,
    /// All endpoints, ingress first.
    pub endpoints: BTreeMap<u32, [Wanted; 2]>,
}

/// Ordered writes. Unwritten blocks of lists go before all of them.
#[derive(Debug, Default)]
pub struct Plan {
    /// Rows that go elsewhere, before all else.
    pub moves: Moves,
    /// Stores into `POLICY_CELLS`.
    pub cells: Vec<(u32, u64)>,
    /// Exact entries to set.
    pub peers: Vec<(IpAddr, Peer)>,
    /// Prefixes to set, inner ones first.
    pub cidrs: Vec<(IpNetwork, Peer)>,
    /// Prefixes to remove at once, outer ones first: only those that an outside hand added.
    pub removed_cidrs: Vec<IpNetwork>,
    /// Exact entries to remove.
    pub removed: Vec<IpAddr>,
    /// Stores into `POLICY_WORDS`.
    pub words: Vec<(u32, u64)>,
    /// What judges each endpoint when all is done.
    pub in_force: BTreeMap<u32, InForce>,
    /// Rows that are new.
    pub drafts: Vec<RowHandle>,
    /// Classes that are new.
    pub classes: Vec<ClassId>,
    /// Entries that say what would hold without them: to be removed after a grace period.
    pub stale_peers: Vec<IpAddr>,
    /// Likewise.
    pub stale_cidrs: Vec<IpNetwork>,
    /// Endpoints whose epoch begins anew.
    pub wrapped: Vec<u32>,
}

/// Makes plans.
pub struct Planner<'a> {
    /// What the maps hold. Plans write nothing.
    pub kernel: &'a Kernel,
    /// Classes, of which plans take new ones.
    pub classes: &'a mut Classes,
    /// Rows.
    pub rows: &'a mut Rows,
    /// Lists.
    pub lists: &'a mut Lists,
    /// Atoms and vectors.
    pub compiled: &'a Compiled,
    /// Names of rules.
    pub cookies: &'a mut Cookies,
    /// What judges the endpoints now.
    pub in_force: &'a BTreeMap<u32, InForce>,
    /// How many prefixes the maps can hold, IPv4 first.
    pub cidr_room: [u32; 2],
    /// The plan as far as it is made.
    pub plan: Plan,
    /// Maps that have no room: all of them are told at once.
    short: Vec<PolicyError>,
    /// Rows in force that stay.
    kept: HashMap<Arc<RowKey>, RowHandle>,
    /// Rows in force that go.
    dying: BTreeSet<RowHandle>,
    /// Rows to come.
    fresh: HashMap<Arc<RowKey>, RowHandle>,
    /// From which class to which addresses go.
    moves: BTreeSet<(ClassId, ClassId)>,
    /// An address becomes or ceases to be this node's.
    local_node_moves: bool,
}

impl<'a> Planner<'a> {
    /// A planner with an empty plan.
    pub fn new(
        (kernel, classes): (&'a Kernel, &'a mut Classes),
        rows: &'a mut Rows,
        lists: &'a mut Lists,
        compiled: &'a Compiled,
        cookies: &'a mut Cookies,
        in_force: &'a BTreeMap<u32, InForce>,
    ) -> Self {
        Self {
            kernel,
            classes,
            rows,
            lists,
            compiled,
            cookies,
            in_force,
            cidr_room: [u32::MAX; 2],
            plan: Plan::default(),
            short: Vec::new(),
            kept: HashMap::new(),
            dying: BTreeSet::new(),
            fresh: HashMap::new(),
            moves: BTreeSet::new(),
            local_node_moves: false,
        }
    }

    /// With so much room for prefixes, IPv4 first.
    #[must_use]
    pub fn with_cidr_room(mut self, room: [u32; 2]) -> Self {
        self.cidr_room = room;
        self
    }

    /// Makes the plan. On an error, what was taken for it is given back.
    pub fn make(mut self, change: &Change) -> Result<Plan, PolicyError> {
        match self.try_make(change) {
            Ok(()) => Ok(self.plan),
            Err(error) => {
                abandon(&self.plan, self.classes, self.rows, self.lists);
                Err(together(self.short, error))
            }
        }
    }

    fn try_make(&mut self, change: &Change) -> Result<(), PolicyError> {
        self.lists.begin();
        self.sort_rows(change);
        if change.all {
            self.restate_classes(change)?;
        }
        let mut targets = Targets::new(self.classes, self.checks(change));
        self.plan_prefixes(change, &mut targets)?;
        self.plan_addresses(change, &mut targets)?;
        self.plan_cells(&targets)?;
        self.plan_words(change, &targets)
    }

    /// What came of it; none if there is no room for it, which is noted.
    fn unless_short<T>(
        &mut self,
        result: Result<T, PolicyError>,
    ) -> Result<Option<T>, PolicyError> {
        match result {
            Err(error) if error.is_want_of_room() => {
                self.short.push(error);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// The cell of a row for a vector.
    fn cell(&mut self, row: RowHandle, vector: VectorId) -> Result<u64, PolicyError> {
        let vector = self.compiled.vectors.get(vector);
        match self.rows.all.get_mut(&row) {
            Some(row) => row.cell(vector, self.lists),
            None => Ok(0),
        }
    }
}

/// The first of these errors, with what all say of maps that have no room; but another error comes before that.
fn together(mut short: Vec<PolicyError>, last: PolicyError) -> PolicyError {
    if !last.is_want_of_room() {
        return last;
    }
    let mut all: BTreeMap<&'static str, u32> = BTreeMap::new();
    for error in short.iter().chain([&last]) {
        if let PolicyError::NoRoom { map, needed, .. } = error {
            let known = all.entry(map).or_default();
            *known = (*known).max(*needed);
        }
    }
    let mut first = if short.is_empty() {
        last
    } else {
        short.swap_remove(0)
    };
    if let PolicyError::NoRoom { also, .. } = &mut first {
        *also = all;
    }
    first
}

/// Gives back what a plan took and nothing refers to.
pub fn abandon(plan: &Plan, classes: &mut Classes, rows: &mut Rows, lists: &mut Lists) {
    plan.moves.abandon(rows);
    for row in &plan.drafts {
        rows.forget(*row, lists);
    }
    for class in &plan.classes {
        classes.set_vector(*class, None);
    }
}
