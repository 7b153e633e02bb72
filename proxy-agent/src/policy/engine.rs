//! The engine: holds what the maps hold, compiles what they should, and commits the difference.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use super::{
    LocalEndpoint, PolicyError, PolicyReport, PolicyTables,
    addresses::Addresses,
    apply::apply,
    compiled::Compiled,
    cookie::Cookies,
    effective::Effective,
    kernel::Kernel,
    lists::Lists,
    plan::{Change, InForce, Plan, Planner, abandon},
    reclaim::Reclaim,
    restore::restore,
    rows::{RowHandle, Rows},
    subjects::{self, Locals},
    version::{Observed, Versions},
};
use crate::model::{Kind, Namespace, Snapshot};

/// The kinds without which no policy is committed.
pub const NEEDED: [Kind; 4] = [Kind::Pod, Kind::Namespace, Kind::NetworkPolicy, Kind::Node];

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
    pub(super) observed: Observed,
    pub(super) namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
    pub(super) addresses: Addresses,
    pub(super) locals: Locals,
    pub(super) effective: Effective,
    pub(super) good: Versions,
    pub(super) compiled: Compiled,
    /// Versions that `compiled` is made of.
    pub(super) active: BTreeSet<u64>,
    pub(super) cookies: Cookies,
    ready: BTreeSet<u32>,
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
            observed: Observed::default(),
            namespaces: BTreeMap::new(),
            addresses: Addresses::default(),
            locals: Locals::new(),
            effective: Effective::default(),
            good: Versions::new(),
            compiled: Compiled::default(),
            active: BTreeSet::new(),
            cookies: Cookies::default(),
            ready: BTreeSet::new(),
            revalidate: true,
        }
    }

    /// Addresses of this node beside those of its Node object: whatever the node itself may send from. Taken
    /// over by the next sync.
    pub fn set_local_addresses(&mut self, addresses: Vec<IpAddr>) {
        self.own_addresses = addresses;
    }

    /// Reads what a former agent left in the maps. The first sync does it if nobody did.
    pub fn restore(&mut self) -> Result<(), PolicyError> {
        if self.restored {
            return Ok(());
        }
        let Self {
            kernel,
            rows,
            lists,
            reclaim,
            ..
        } = self;
        match restore(kernel, rows, lists, reclaim) {
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
        self.kernel.side = 0;
        self.kernel.peers.clear();
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
            waiting: missing(snapshot),
            ..PolicyReport::default()
        };
        if report.waiting.is_empty() {
            let writes = self.kernel.writes;
            let result = self.commit(now, snapshot, endpoints, &mut report);
            self.revalidate = result.is_err();
            result?;
            report.writes = self.kernel.writes - writes;
        }
        report.usage = self.usage();
        report.again_after = self.reclaim.due(now);
        Ok(report)
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

    fn commit(
        &mut self,
        now: Instant,
        snapshot: &Snapshot,
        endpoints: &[LocalEndpoint],
        report: &mut PolicyReport,
    ) -> Result<(), PolicyError> {
        let Self {
            kernel,
            rows,
            lists,
            reclaim,
            ..
        } = self;
        reclaim.run(now, kernel, rows, lists)?;
        let is_calm = reclaim.due(now).is_none();
        let twins = is_calm && self.kernel.classes.has_twins();
        let (all, dirty) = self.observe(snapshot, endpoints);
        let change = self.desire(all || twins || self.revalidate, dirty, report);
        let plan = self.plan(&change)?;
        if let Err(error) = apply(&plan, &mut self.kernel, &mut self.lists) {
            abandon(&plan, &mut self.kernel, &mut self.rows, &mut self.lists);
            return Err(error);
        }
        self.settle(now, &change, plan, report);
        Ok(())
    }

    /// Takes over what is observed: whether peers must be compiled anew, and the addresses that changed.
    fn observe(
        &mut self,
        snapshot: &Snapshot,
        endpoints: &[LocalEndpoint],
    ) -> (bool, HashSet<IpAddr>) {
        let mut dirty = HashSet::new();
        let policies = self.observed.update(&snapshot.policies);
        if policies || self.revalidate {
            self.effective = Effective::new(&self.observed.versions);
        }
        let refused = policies && !self.effective.refused.is_empty();
        let namespaces = !same_labels(&self.namespaces, &snapshot.namespaces);
        self.namespaces.clone_from(&snapshot.namespaces);
        let nodes = snapshot.nodes.values();
        let nodes = self
            .addresses
            .update_nodes(nodes, &self.node, &self.own_addresses);
        self.locals = subjects::find(endpoints, snapshot, &self.locals);
        self.addresses.update_pods(&snapshot.pods, &mut dirty);
        self.addresses
            .update_local(subjects::owners(&self.locals), &mut dirty);
        (refused || namespaces || nodes, dirty)
    }

    fn plan(&mut self, change: &Change) -> Result<Plan, PolicyError> {
        let mut retired: Vec<RowHandle> = Vec::new();
        let planner = Planner::new(
            &mut self.kernel,
            &mut self.rows,
            &mut self.lists,
            &self.compiled,
            &mut self.cookies,
            &self.in_force,
            &mut retired,
        );
        let plan = planner.make(change);
        self.reclaim.retire(Instant::now(), retired, Vec::new());
        plan
    }

    /// Keeps the books after a plan was carried out.
    fn settle(&mut self, now: Instant, change: &Change, plan: Plan, report: &mut PolicyReport) {
        let rows_before = rows_of(&self.in_force);
        self.in_force = plan.in_force;
        let rows_now = rows_of(&self.in_force);
        let gone: Vec<_> = rows_before.difference(&rows_now).copied().collect();
        let deserted = self.kernel.classes.desert();
        for (address, _) in change.addresses.iter().filter(|(_, want)| want.keep) {
            self.reclaim.want_peer(address);
        }
        for (prefix, _) in change.prefixes.iter().filter(|(_, want)| want.keep) {
            self.reclaim.want_cidr(prefix);
        }
        self.reclaim.outdate(&plan.stale_peers, &plan.stale_cidrs);
        if !plan.words.is_empty() || !gone.is_empty() || !deserted.is_empty() {
            self.reclaim.retire(now, gone, deserted);
        }
        self.good.clone_from(&self.effective.versions);
        let is_known =
            |id: &&u32| self.locals[*id].subject.is_some() && !report.denied.contains_key(*id);
        self.ready = self.locals.keys().filter(is_known).copied().collect();
        report.committed = plan.words.len();
        report.wrapped = plan.wrapped;
        self.report_overflows(report);
    }

    fn report_overflows(&self, report: &mut PolicyReport) {
        for row in self.rows.all.values() {
            let (Some(key), Some(too_long)) = (&row.key, row.overflow) else {
                continue;
            };
            for version in &key.policies {
                let why = format!("{} peers are denied: {too_long}", key.direction);
                report.refused.insert(version.policy.name.clone(), why);
            }
        }
    }

    fn usage(&self) -> super::report::Usage {
        let (cells, cells_capacity) = self.rows.usage();
        let (blocks, blocks_capacity) = self.lists.usage();
        super::report::Usage {
            classes: self.kernel.classes.known().count(),
            rows: rows_of(&self.in_force).len(),
            cells,
            cells_capacity,
            blocks,
            blocks_capacity,
            peers: self.kernel.peers.len(),
            cidrs: self.kernel.cidrs.len(),
        }
    }
}

fn missing(snapshot: &Snapshot) -> Vec<Kind> {
    let is_missing = |kind: &Kind| !snapshot.complete.has(&[*kind]);
    NEEDED.into_iter().filter(is_missing).collect()
}

fn rows_of(in_force: &BTreeMap<u32, InForce>) -> BTreeSet<RowHandle> {
    let all = in_force.values().flat_map(|f| f.rows);
    all.filter_map(|selected| match selected {
        super::plan::Selected::Row(row) => Some(row),
        super::plan::Selected::Deny | super::plan::Selected::Allow => None,
    })
    .collect()
}

fn same_labels(
    a: &BTreeMap<Arc<str>, Arc<Namespace>>,
    b: &BTreeMap<Arc<str>, Arc<Namespace>>,
) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|((k, a), (l, b))| k == l && (Arc::ptr_eq(a, b) || a == b))
}
