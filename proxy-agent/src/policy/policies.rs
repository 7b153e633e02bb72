//! Policy as the main loop knows it: the engine, its figures, and flows whose epoch began anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tokio::time::Instant;

use super::{
    PolicyError, PolicyReport, PolicyTables, Refusal,
    engine::{PolicyEngine, glance::Glanced},
};
use crate::{
    api::{
        Shared,
        messages::{Names, Status},
        metrics::Apply,
    },
    datapath::{Maps, TableError},
    model::{EventReason, Kind, LocalEndpoint, Notice, ObjectName, Snapshot},
    observe::Store,
    subject::{self, Depth, Here, Room, Subject, Turn, Verified, growth::InVain},
    usage::in_full,
};

/// Between two syncs that only time asks for.
const PAUSE: Duration = Duration::from_millis(10);
/// When a sync that failed is tried again; then twice as long, and so on.
const RETRY: Duration = Duration::from_millis(500);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);

/// What was read of what others told.
#[derive(Debug, Default)]
struct Seen {
    endpoints: u64,
    addresses: u64,
    ranges: u64,
    in_vain: u64,
}

/// Everything about policy.
pub struct Policies {
    shared: Arc<Shared>,
    maps: Maps,
    engine: PolicyEngine,
    last: PolicyReport,
    endpoints: usize,
    observed: usize,
    error: Option<String>,
    /// How long to wait after the next error.
    retry: Duration,
    /// The kernel did not take a write.
    broken: bool,
    /// Maps that have no room, and how many entries more they need at the least.
    room: Room,
    due: Instant,
    seen: Seen,
    /// Why what was changed by somebody else could not all be set right.
    damaged: Option<String>,
}

impl Policies {
    /// Goes on from what the maps hold.
    pub fn open(shared: &Arc<Shared>, maps: &Maps) -> anyhow::Result<Self> {
        let mut engine =
            PolicyEngine::new(PolicyTables::from(maps), shared.config.node_name.clone());
        engine.set_in_vain(InVain::new());
        engine.restore().context("read policy's maps")?;
        Ok(Self {
            shared: Arc::clone(shared),
            maps: maps.clone(),
            engine,
            last: PolicyReport::default(),
            endpoints: 0,
            observed: 0,
            error: None,
            retry: RETRY,
            broken: false,
            room: Room::new(),
            due: Instant::now(),
            seen: Seen::default(),
            damaged: None,
        })
    }

    /// After an error the state before is in force, and the next sync goes on.
    fn bring(&mut self, snapshot: &Snapshot, endpoints: &[LocalEndpoint]) {
        self.endpoints = endpoints.len();
        self.observed = snapshot.policies.len();
        if self.damaged.is_some() {
            self.repair();
        }
        self.due = self.bring_in_step(snapshot, endpoints);
        if self.damaged.is_some() {
            self.due = self.due.min(Instant::now() + RETRY);
        }
    }

    /// Takes over what others told; whether policy is to be brought in step for it.
    fn listen(&mut self, here: &Here) -> bool {
        let endpoints = here.endpoints.news(&mut self.seen.endpoints);
        if let Some(endpoints) = endpoints {
            self.deny_unused(&endpoints.iter().map(|e| e.id).collect());
        }
        let addresses = here.addresses.news(&mut self.seen.addresses);
        if let Some(addresses) = addresses {
            self.engine.set_local_addresses(addresses.clone());
        }
        let ranges = here.ranges.news(&mut self.seen.ranges);
        if let Some(ranges) = ranges {
            self.engine.set_local_ranges(ranges.clone());
        }
        let in_vain = here.in_vain.news(&mut self.seen.in_vain);
        if let Some(in_vain) = in_vain {
            self.engine.set_in_vain(in_vain.clone());
        }
        let of_node = addresses.is_some() || ranges.is_some();
        endpoints.is_some() || of_node || in_vain.is_some()
    }

    fn bring_in_step(&mut self, snapshot: &Snapshot, endpoints: &[LocalEndpoint]) -> Instant {
        match self.engine.sync(snapshot, endpoints) {
            Ok(report) => {
                self.tell(&report);
                self.forget_flows(&report.wrapped);
                self.error = None;
                self.retry = RETRY;
                self.broken = false;
                self.room = owned(&report.wanting);
                self.last = report;
                // Nothing is freed before the lists are complete; and what cannot be freed must not spin.
                let again = self.last.again_after.map(|again| again.max(PAUSE));
                subject::after(again.filter(|_| self.last.waiting.is_empty()))
            }
            Err(error) => {
                let text = error.to_string();
                self.count_error("sync");
                if self.error.as_ref() != Some(&text) {
                    tracing::warn!(error = text, "policy not in step; what was in force stays");
                }
                self.error = Some(text);
                self.room = error.room().into_iter().collect();
                self.broken = matches!(error, PolicyError::Table(TableError::Kernel { .. }));
                let wait = self.retry;
                self.retry = (2 * wait).min(LONGEST);
                Instant::now() + wait
            }
        }
    }

    /// Compares the maps with what was written to them and sets right what differs.
    fn repair(&mut self) -> Verified {
        self.forget_cookies();
        match self.engine.verify() {
            Ok(report) => {
                self.forget_flows(&report.wrapped);
                self.damaged.clone_from(&report.broken);
                let mut due = subject::after(report.again_after);
                if let Some(error) = &report.broken {
                    self.count_error("verify");
                    tracing::warn!(
                        error,
                        "maps of policy not set right; what was changed denies"
                    );
                    due = Instant::now() + RETRY;
                }
                self.due = self.due.min(due);
                match report.broken {
                    None => Verified::Done(report.drift),
                    Some(_) => Verified::Failed(report.drift),
                }
            }
            Err(error) => {
                self.count_error("verify");
                tracing::error!(%error, "full comparison of policy failed");
                self.damaged = Some(error.to_string());
                self.due = self.due.min(Instant::now() + RETRY);
                Verified::Failed(0)
            }
        }
    }

    /// Policies come and go; the names of their rules are needed as long as a flow names them.
    fn forget_cookies(&mut self) {
        if !self.engine.has_old_cookies() {
            return;
        }
        let flows = self.maps.cookies_of_flows();
        self.engine.forget_cookies(&flows);
    }

    fn count_error(&self, operation: &'static str) {
        let labels = Apply::new("policy", operation);
        let errors = &self.shared.metrics.apply_errors;
        errors.get_or_create(&labels).inc();
    }

    /// Denies everything to all ids but these, so that whoever is given one passes by nothing that another left.
    pub fn deny_unused(&mut self, used: &BTreeSet<u32>) {
        let wrapped = self.engine.deny_unused(used);
        self.forget_flows(&wrapped);
    }

    fn tell(&self, report: &PolicyReport) {
        let refused = &self.shared.metrics.policies_refused;
        refused.set(i64::try_from(report.refused.len()).unwrap_or(i64::MAX));
        for (name, refusal) in &report.refused {
            if !self.last.refused.contains_key(name) {
                tracing::warn!(policy = %name, why = %refusal, "NetworkPolicy refused");
            }
        }
        for name in self.last.refused.keys() {
            if !report.refused.contains_key(name) {
                tracing::info!(policy = %name, "NetworkPolicy is not refused any more");
            }
        }
        for (name, why) in &report.waits {
            if !self.last.waits.contains_key(name) {
                tracing::info!(policy = %name, %why, "NetworkPolicy waits for room");
            }
        }
        if report.standstill != self.last.standstill
            && let Some(why) = &report.standstill
        {
            tracing::info!(why, "policy waits for room; what was in force stays");
        }
        for (endpoint, why) in &report.unknown {
            if self.last.unknown.get(endpoint) != Some(why) {
                tracing::info!(endpoint, why, "endpoint is denied everything");
            }
        }
        if report.committed > 0 {
            tracing::debug!(
                endpoints = report.committed,
                writes = report.writes,
                "policy committed"
            );
        }
    }

    /// An epoch that begins anew could be that of an old flow.
    fn forget_flows(&self, endpoints: &[u32]) {
        if endpoints.is_empty() {
            return;
        }
        let endpoints: BTreeSet<u32> = endpoints.iter().copied().collect();
        self.maps.end_flows_of(&endpoints);
    }
}

fn owned(wanting: &BTreeMap<&'static str, u32>) -> Room {
    let maps = wanting.iter();
    maps.map(|(map, needed)| ((*map).to_owned(), *needed))
        .collect()
}

impl Subject for Policies {
    fn name(&self) -> &'static str {
        "policy"
    }

    fn sync(&mut self, turn: &Turn<'_>, here: &mut Here) {
        let dirty = turn.dirty;
        let told = self.listen(here);
        let changed = turn.relisted
            || !(dirty.pods.is_empty()
                && dirty.namespaces.is_empty()
                && dirty.policies.is_empty()
                && dirty.nodes.is_empty());
        if changed || told || self.due <= Instant::now() {
            self.bring(turn.snapshot, here.endpoints.get());
        }
        if here.policed.get() != self.engine.ready_ids() {
            here.policed.tell(self.engine.ready_ids().clone());
        }
    }

    fn due(&self) -> Instant {
        self.due
    }

    fn verify(&mut self, _: &Store, budget: usize, depth: Depth) -> Verified {
        match self.engine.glance(budget) {
            Ok(Glanced::More) => Verified::More(0),
            Ok(Glanced::Done) => {
                // All flows are read for that.
                if depth == Depth::Whole {
                    self.forget_cookies();
                }
                Verified::Done(0)
            }
            Ok(Glanced::Differs) | Err(_) => self.repair(),
        }
    }

    fn broken(&self) -> Option<&str> {
        let refused = self.error.as_deref().filter(|_| self.broken);
        refused.or(self.damaged.as_deref())
    }

    fn waits_for_room(&self, room: &mut Room) {
        for (map, needed) in &self.room {
            *room.entry(map.clone()).or_default() += needed;
        }
    }

    /// What waited for room is tried again at once. The engine knows where in its arrays there is room: where they are
    /// smaller, it begins anew with what they hold.
    fn resized(&mut self, _: &BTreeMap<String, u32>) {
        self.due = Instant::now();
        self.retry = RETRY;
        if self.engine.grow() {
            return;
        }
        match Self::open(&self.shared, &self.maps) {
            Ok(anew) => *self = anew,
            Err(error) => {
                let error = in_full(&error);
                tracing::error!(error, "policy goes on with the room that it had");
            }
        }
    }

    fn status(&self, status: &mut Status) {
        let sync = &mut status.sync;
        sync.policies = self.observed as u64;
        sync.endpoints = self.endpoints as u64;
        sync.errors.extend(self.error.iter().cloned());
        let refused = self.last.refused.iter();
        sync.errors
            .extend(refused.map(|(name, why)| format!("NetworkPolicy {name}: {why}")));
        let waits = self.last.waits.iter();
        let waits = waits.map(|(name, why)| format!("NetworkPolicy {name} waits for room: {why}"));
        sync.errors.extend(waits);
        let standstill = self.last.standstill.iter();
        let standstill = standstill.map(|why| format!("policy waits for room, as it was: {why}"));
        sync.errors.extend(standstill);
        sync.policies_refused = self.last.refused.len() as u64;
    }

    fn notices(&self) -> Vec<Notice> {
        let refused = self.last.refused.iter();
        let notice = |(name, refusal): (&ObjectName, &Refusal)| Notice {
            kind: Kind::NetworkPolicy,
            object: name.clone(),
            reason: EventReason::NotProgrammed,
            note: refusal.to_string(),
        };
        refused.map(notice).collect()
    }

    fn names(&self, names: &mut Names) {
        let cookies = self.engine.cookies().iter();
        names.cookies = cookies
            .map(|(cookie, rule)| (cookie, rule.to_string()))
            .collect();
        names.policy = self.engine.names();
    }

    fn diff(&self, _: &Snapshot) -> anyhow::Result<Vec<String>> {
        let drift = self.engine.drift().context("compare policy's maps")?;
        Ok(drift.lines())
    }
}
