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
    plan::{Change, InForce, Plan, Planner, Wanted, abandon},
    reclaim::Reclaim,
    restore::restore,
    rows::{RowHandle, Rows},
    subjects::{self, Locals},
    version::{Observed, Versions},
};
use crate::model::{Kind, Namespace, Node, Snapshot};

/// The kinds without which no policy is committed.
pub const NEEDED: [Kind; 4] = [Kind::Pod, Kind::Namespace, Kind::NetworkPolicy, Kind::Node];

/// What should judge each endpoint in each direction, and why some are denied everything.
type WantedOfAll = (BTreeMap<u32, [Wanted; 2]>, BTreeMap<u32, String>);

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
    own_addresses_changed: bool,
    pub(super) observed: Observed,
    pub(super) namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
    pub(super) addresses: Addresses,
    nodes: BTreeMap<Arc<str>, Arc<Node>>,
    pub(super) locals: Locals,
    /// What should judge each endpoint, and whom that denies; none if it must be found anew.
    pub(super) wanted: Option<WantedOfAll>,
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
            own_addresses_changed: true,
            observed: Observed::default(),
            namespaces: BTreeMap::new(),
            addresses: Addresses::default(),
            nodes: BTreeMap::new(),
            locals: Locals::new(),
            wanted: None,
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
        self.own_addresses_changed |= self.own_addresses != addresses;
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
        let is_idle = dirty.is_empty() && self.wanted.is_some();
        if is_idle && !(all || twins || self.revalidate) {
            self.report(report);
            return Ok(());
        }
        let change = self.desire(all || twins || self.revalidate, dirty);
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
            self.wanted = None;
        }
        let locals = subjects::find(endpoints, snapshot, &self.locals);
        if !subjects::same(&self.locals, &locals) {
            self.wanted = None;
        }
        self.locals = locals;
        let namespaces = take_over(&mut self.namespaces, &snapshot.namespaces);
        let nodes = self.observe_nodes(snapshot);
        self.addresses.update_pods(&snapshot.pods, &mut dirty);
        let owners = subjects::owners(&self.locals);
        self.addresses.update_local(owners, &mut dirty);
        (namespaces || nodes, dirty)
    }

    fn observe_nodes(&mut self, snapshot: &Snapshot) -> bool {
        let nodes = take_over(&mut self.nodes, &snapshot.nodes);
        let own = std::mem::take(&mut self.own_addresses_changed);
        (nodes || own)
            && self
                .addresses
                .update_nodes(self.nodes.values(), &self.node, &self.own_addresses)
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
        self.keep_ready();
        report.committed = plan.words.len();
        report.wrapped = plan.wrapped;
        self.report(report);
    }

    fn keep_ready(&mut self) {
        let denied = self.wanted.as_ref().map(|(_, denied)| denied);
        let is_good = |id: &&u32| denied.is_none_or(|denied| !denied.contains_key(*id));
        self.ready = self.locals.keys().filter(is_good).copied().collect();
    }

    /// What is not as the cluster asks, as long as it is so.
    fn report(&self, report: &mut PolicyReport) {
        if let Some((_, denied)) = &self.wanted {
            report.denied.clone_from(denied);
        }
        for (name, (_, why)) in &self.effective.refused {
            report.refused.insert(name.clone(), why.to_string());
        }
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

/// Takes over a store; tells whether any object differs.
fn take_over<T: PartialEq>(
    known: &mut BTreeMap<Arc<str>, Arc<T>>,
    now: &BTreeMap<Arc<str>, Arc<T>>,
) -> bool {
    let is_same = known.len() == now.len()
        && known
            .iter()
            .zip(now)
            .all(|((k, a), (l, b))| k == l && (Arc::ptr_eq(a, b) || a == b));
    if !is_same {
        known.clone_from(now);
    }
    !is_same
}
