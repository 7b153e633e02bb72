//! The engine: holds what the maps hold, compiles what they should, and commits the difference.

mod books;
mod fit;
mod give_way;
pub mod glance;
mod grow;
mod names;
mod observe;
mod unused;
mod verify;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ipnetwork::IpNetwork;

use self::glance::Glance;
use super::{
    LocalEndpoint, PolicyError, PolicyReport, PolicyTables,
    addresses::Addresses,
    apply::apply,
    compiled::Compiled,
    cookie::Cookies,
    effective::{BackOff, Effective},
    held::{Held, Standstill},
    kernel::{Kernel, Picture},
    lists::Lists,
    plan::{Change, InForce, Plan, Planner, Wanted, abandon},
    reclaim::Reclaim,
    restore::restore,
    rows::Rows,
    subjects::Locals,
    version::{Observed, Versions},
};
use crate::{
    model::{Kind, Namespace, Node, ObjectName, Snapshot},
    subject::growth::{InVain, Waits},
};

/// The kinds without which no policy is committed.
pub const NEEDED: [Kind; 4] = [Kind::Pod, Kind::Namespace, Kind::NetworkPolicy, Kind::Node];

/// What should judge each endpoint in each direction, ingress first.
#[derive(Debug, Default)]
pub(super) struct WantedOfAll {
    pub(super) rows: BTreeMap<u32, [Wanted; 2]>,
    pub(super) denied: Denied,
}

/// Endpoints that are denied everything, and why.
#[derive(Clone, Debug, Default)]
pub(super) struct Denied {
    /// Whose pod nobody has seen.
    pub(super) unknown: BTreeMap<u32, String>,
    /// Whom a policy selects that is refused, or that waits for room.
    pub(super) closed: BTreeMap<u32, [Option<ObjectName>; 2]>,
}

/// Compiles policy and keeps its maps. Called from one place, the agent's main loop.
pub struct PolicyEngine {
    pub(super) kernel: Kernel,
    pub(super) rows: Rows,
    pub(super) lists: Lists,
    pub(super) reclaim: Reclaim,
    pub(super) in_force: BTreeMap<u32, InForce>,
    pub(super) restored: bool,
    node: String,
    own_addresses: Vec<IpAddr>,
    own_ranges: Vec<IpNetwork>,
    own_addresses_changed: bool,
    pub(super) observed: Observed,
    pub(super) namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
    pub(super) addresses: Addresses,
    nodes: BTreeMap<Arc<str>, Arc<Node>>,
    pub(super) locals: Locals,
    /// What should judge each endpoint; none if it must be found anew.
    pub(super) wanted: Option<WantedOfAll>,
    pub(super) effective: Effective,
    pub(super) back_off: BackOff,
    /// What counts as it is in force, and what counted last of each policy that waits for room.
    pub(super) good: Versions,
    /// Who is denied as it is in force.
    pub(super) denied: Denied,
    /// Maps that do not grow though there is no room in them; none if no map does.
    pub(super) in_vain: Option<InVain>,
    /// Since when policies wait for room, and those that were refused after that.
    pub(super) waits: Waits<ObjectName>,
    pub(super) held: Held,
    pub(super) standstill: Standstill,
    pub(super) compiled: Compiled,
    /// Versions that `compiled` is made of.
    pub(super) active: BTreeSet<u64>,
    pub(super) cookies: Cookies,
    ready: BTreeSet<u32>,
    glance: Glance,
    /// A sync failed, or none has run: nothing compiled can be relied on.
    revalidate: bool,
}

impl PolicyEngine {
    /// An engine over these maps, for the node of this name. Reads nothing yet.
    pub fn new(tables: PolicyTables, node: impl Into<String>) -> Self {
        let rows = Rows::new(tables.cells.len());
        let lists = Lists::new(tables.intervals.capacity());
        Self {
            kernel: Kernel::new(tables),
            rows,
            lists,
            reclaim: Reclaim::default(),
            in_force: BTreeMap::new(),
            restored: false,
            node: node.into(),
            own_addresses: Vec::new(),
            own_ranges: Vec::new(),
            own_addresses_changed: true,
            observed: Observed::default(),
            namespaces: BTreeMap::new(),
            addresses: Addresses::default(),
            nodes: BTreeMap::new(),
            locals: Locals::new(),
            wanted: None,
            effective: Effective::default(),
            back_off: BackOff::default(),
            good: Versions::default(),
            denied: Denied::default(),
            in_vain: None,
            waits: Waits::default(),
            held: Held::default(),
            standstill: Standstill::default(),
            compiled: Compiled::default(),
            active: BTreeSet::new(),
            cookies: Cookies::default(),
            ready: BTreeSet::new(),
            glance: Glance::default(),
            revalidate: true,
        }
    }

    /// Addresses of this node beside those of its Node object: whatever the node itself may send from. Taken
    /// over by the next sync.
    pub fn set_local_addresses(&mut self, addresses: Vec<IpAddr>) {
        self.own_addresses_changed |= self.own_addresses != addresses;
        self.own_addresses = addresses;
    }

    /// Ranges all of whose addresses are this node's, beside those. Taken over by the next sync.
    pub fn set_local_ranges(&mut self, ranges: Vec<IpNetwork>) {
        self.own_addresses_changed |= self.own_ranges != ranges;
        self.own_ranges = ranges;
    }

    /// Reads what a former agent left in the maps. The first sync does it if nobody did.
    pub fn restore(&mut self) -> Result<(), PolicyError> {
        if self.restored {
            return Ok(());
        }
        let restored = restore(
            &mut self.kernel,
            &mut self.rows,
            &mut self.lists,
            &mut self.reclaim,
        );
        match restored {
            Ok(in_force) => {
                self.in_force = in_force;
                self.restored = true;
                Ok(())
            }
            Err(error) => {
                self.forget();
                Err(error)
            }
        }
    }

    fn forget(&mut self) {
        let tables = &self.kernel.tables;
        self.rows = Rows::new(tables.cells.len());
        self.lists = Lists::new(tables.intervals.capacity());
        self.reclaim = Reclaim::default();
        self.kernel.cells = Picture::new(tables.cells.len());
        self.kernel.words = Picture::new(tables.words.len());
        self.kernel.side = 0;
        self.kernel.peers = super::by_address::ByAddress::default();
        self.kernel.cidrs = super::prefix_map::PrefixMap::default();
        self.kernel.classes = super::classes::Classes::default();
    }

    /// What the cookies in the maps mean.
    pub const fn cookies(&self) -> &Cookies {
        &self.cookies
    }

    /// Whether an endpoint's policy is in force: compiled from complete lists and its pod's own labels.
    pub fn ready(&self, endpoint: u32) -> bool {
        self.ready.contains(&endpoint)
    }

    /// The endpoints whose policy is in force.
    pub const fn ready_ids(&self) -> &BTreeSet<u32> {
        &self.ready
    }

    /// Brings the maps in step with the cluster. `endpoints` are all pods of this node that are wired; ids
    /// that are missing are released.
    pub fn sync(
        &mut self,
        snapshot: &Snapshot,
        endpoints: &[LocalEndpoint],
    ) -> Result<PolicyReport, PolicyError> {
        self.sync_at(Instant::now(), snapshot, endpoints)
    }

    /// [`Self::sync`] at a given time, which only decides what has waited long enough to be freed.
    pub fn sync_at(
        &mut self,
        now: Instant,
        snapshot: &Snapshot,
        endpoints: &[LocalEndpoint],
    ) -> Result<PolicyReport, PolicyError> {
        self.check_ids(endpoints)?;
        self.restore()?;
        let mut report = PolicyReport {
            waiting: observe::missing(snapshot),
            ..PolicyReport::default()
        };
        if report.waiting.is_empty() {
            let writes = self.kernel.writes;
            let result = self.commit(now, snapshot, endpoints, &mut report);
            self.revalidate = !matches!(result, Ok(true));
            result?;
            report.writes = self.kernel.writes - writes;
        }
        report.usage = self.usage();
        report.again_after = self.due(now);
        Ok(report)
    }

    /// When there is something to do that only time asks for.
    fn due(&self, now: Instant) -> Option<Duration> {
        let waits = [
            self.reclaim.due(now),
            self.back_off.due(now),
            self.patience(now),
        ];
        waits.into_iter().flatten().min()
    }

    fn check_ids(&self, endpoints: &[LocalEndpoint]) -> Result<(), PolicyError> {
        let words = self.kernel.tables.words.len();
        let wrong = endpoints.iter().find(|e| e.id == 0 || e.id >= words);
        wrong.map_or(Ok(()), |e| {
            Err(PolicyError::EndpointId {
                id: e.id,
                pod: e.pod.clone(),
                last: words.saturating_sub(1),
            })
        })
    }

    /// False if everything stays as it is, for want of room.
    fn commit(
        &mut self,
        now: Instant,
        snapshot: &Snapshot,
        endpoints: &[LocalEndpoint],
        report: &mut PolicyReport,
    ) -> Result<bool, PolicyError> {
        self.reclaim
            .run(now, &mut self.kernel, &mut self.rows, &mut self.lists)?;
        let is_calm = self.reclaim.due(now).is_none();
        let untidy = is_calm && self.is_untidy();
        let (all, dirty) = self.observe(snapshot, endpoints);
        let again = self.retry(now);
        let all = all || untidy || again || self.revalidate;
        if dirty.is_empty() && self.wanted.is_some() && !all {
            self.report(report);
            return Ok(true);
        }
        let Some((change, mut plan)) = self.fit(now, all, dirty)? else {
            self.report(report);
            return Ok(false);
        };
        let left = plan.moves.carry_out(&mut self.kernel, &mut self.rows);
        if !left.is_empty() {
            self.reclaim.retire(Instant::now(), left, Vec::new());
        }
        if let Err(error) = apply(&plan, &mut self.kernel, &mut self.lists) {
            self.abandon(&plan);
            return Err(error);
        }
        self.settle(now, &change, plan, report);
        Ok(true)
    }

    /// Whether there is to tidy up: classes that stand for the same, or far apart; rows much wider than their classes.
    fn is_untidy(&self) -> bool {
        let classes = &self.kernel.classes;
        let wide = |row| self.rows.is_wide(row, classes.bound());
        classes.has_twins()
            || classes.are_sparse()
            || books::rows_of(&self.in_force).into_iter().any(wide)
    }

    fn plan(&mut self, change: &Change) -> Result<Plan, PolicyError> {
        let cidr_room = self.kernel.cidr_room(&self.reclaim);
        let mut classes = std::mem::take(&mut self.kernel.classes);
        let planner = Planner::new(
            (&self.kernel, &mut classes),
            &mut self.rows,
            &mut self.lists,
            &self.compiled,
            &mut self.cookies,
            &self.in_force,
        );
        let plan = planner.with_cidr_room(cidr_room).make(change);
        self.kernel.classes = classes;
        plan
    }

    /// Gives back what a plan took that is not carried out.
    fn abandon(&mut self, plan: &Plan) {
        let classes = &mut self.kernel.classes;
        abandon(plan, classes, &mut self.rows, &mut self.lists);
    }
}
