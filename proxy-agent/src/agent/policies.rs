//! Policy's part of a sync: the engine, its figures, and flows whose epoch began anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tokio::time::Instant;

use super::{due, named_ids::NamedIds};
use crate::{
    api::{
        Shared,
        messages::{PolicyNames, SyncStatus},
        metrics::Apply,
    },
    datapath::{Maps, TableError},
    model::Snapshot,
    policy::{LocalEndpoint, PolicyError, PolicyReport, PolicyTables, engine::PolicyEngine},
};

/// When a sync that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Everything about policy.
pub struct Policies {
    shared: Arc<Shared>,
    maps: Maps,
    engine: PolicyEngine,
    last: PolicyReport,
    endpoints: usize,
    observed: usize,
    error: Option<String>,
    /// The kernel did not take a write.
    broken: bool,
    addresses: Vec<IpAddr>,
    /// What was changed by somebody else could not all be set right.
    damaged: bool,
}

impl Policies {
    /// Goes on from what the maps hold.
    pub fn open(shared: &Arc<Shared>, maps: &Maps) -> anyhow::Result<Self> {
        let mut engine =
            PolicyEngine::new(PolicyTables::from(maps), shared.config.node_name.clone());
        engine.restore().context("read policy's maps")?;
        Ok(Self {
            shared: Arc::clone(shared),
            maps: maps.clone(),
            engine,
            last: PolicyReport::default(),
            endpoints: 0,
            observed: 0,
            error: None,
            broken: false,
            addresses: Vec::new(),
            damaged: false,
        })
    }

    /// The engine.
    pub const fn engine(&mut self) -> &mut PolicyEngine {
        &mut self.engine
    }

    /// Brings the maps in step; gives the time when to do so again though nothing changes. After an error
    /// the state before is in force and the next sync goes on.
    pub fn sync(&mut self, snapshot: &Snapshot, endpoints: &[LocalEndpoint]) -> Instant {
        self.endpoints = endpoints.len();
        self.observed = snapshot.policies.len();
        if self.damaged {
            self.verify();
        }
        let due = self.bring_in_step(snapshot, endpoints);
        if self.damaged {
            due.min(Instant::now() + RETRY)
        } else {
            due
        }
    }

    fn bring_in_step(&mut self, snapshot: &Snapshot, endpoints: &[LocalEndpoint]) -> Instant {
        match self.engine.sync(snapshot, endpoints) {
            Ok(report) => {
                self.tell(&report);
                self.forget_flows(&report.wrapped);
                self.error = None;
                self.broken = false;
                self.last = report;
                due::after(self.last.again_after)
            }
            Err(error) => {
                let text = error.to_string();
                self.count_error("sync");
                if self.error.as_ref() != Some(&text) {
                    tracing::warn!(error = text, "policy not in step; what was in force stays");
                }
                self.error = Some(text);
                self.broken = matches!(error, PolicyError::Table(TableError::Kernel { .. }));
                Instant::now() + RETRY
            }
        }
    }

    /// Compares the maps with what was written to them and sets right what differs: how many entries did, and
    /// when to sync again though nothing changes.
    pub fn verify(&mut self) -> (usize, Instant) {
        self.forget_cookies();
        match self.engine.verify() {
            Ok(report) => {
                self.forget_flows(&report.wrapped);
                self.damaged = report.broken.is_some();
                if let Some(error) = &report.broken {
                    self.count_error("verify");
                    tracing::warn!(
                        error,
                        "maps of policy not set right; what was changed denies"
                    );
                    return (report.drift, Instant::now() + RETRY);
                }
                (report.drift, due::after(report.again_after))
            }
            Err(error) => {
                self.count_error("verify");
                tracing::error!(%error, "full comparison of policy failed");
                (0, Instant::now() + RETRY)
            }
        }
    }

    /// Policies come and go; the names of their rules are needed as long as a flow names them.
    fn forget_cookies(&mut self) {
        if !self.engine.has_old_cookies() {
            return;
        }
        let flows = NamedIds::cookies(&self.maps);
        self.engine.forget_cookies(&flows);
    }

    /// What in the maps is not as it was left, for people.
    pub fn diff(&self) -> anyhow::Result<Vec<String>> {
        let drift = self.engine.drift().context("compare policy's maps")?;
        Ok(drift.lines())
    }

    fn count_error(&self, operation: &'static str) {
        let labels = Apply::new("policy", operation);
        let errors = &self.shared.metrics.apply_errors;
        errors.get_or_create(&labels).inc();
    }

    /// Why the kernel does not take a write, if that is so.
    pub fn broken(&self) -> Option<&str> {
        self.error.as_deref().filter(|_| self.broken)
    }

    /// Whether an endpoint's policy is in force.
    pub fn ready(&self, endpoint: u32) -> bool {
        self.engine.ready(endpoint)
    }

    /// Addresses of this node beside those of its Node object; false if they are nothing new.
    pub fn set_local_addresses(&mut self, addresses: Vec<IpAddr>) -> bool {
        let changed = self.addresses != addresses;
        if changed {
            self.addresses.clone_from(&addresses);
            self.engine.set_local_addresses(addresses);
        }
        changed
    }

    /// Denies everything to all ids but these, so that whoever is given one passes by nothing that another left.
    pub fn deny_unused(&mut self, used: &BTreeSet<u32>) {
        let wrapped = self.engine.deny_unused(used);
        self.forget_flows(&wrapped);
    }

    /// What cookies mean.
    pub fn names(&self) -> BTreeMap<u32, String> {
        let cookies = self.engine.cookies().iter();
        cookies
            .map(|(cookie, rule)| (cookie, rule.to_string()))
            .collect()
    }

    /// What rows and classes mean.
    pub fn rows_and_classes(&self) -> PolicyNames {
        self.engine.names()
    }

    /// Fills in the figures.
    pub fn status(&self, status: &mut SyncStatus) {
        status.policies = self.observed as u64;
        status.endpoints = self.endpoints as u64;
        status.errors.extend(self.error.iter().cloned());
        let refused = self.last.refused.iter();
        status
            .errors
            .extend(refused.map(|(name, why)| format!("NetworkPolicy {name}: {why}")));
    }

    fn tell(&self, report: &PolicyReport) {
        for (name, why) in &report.refused {
            if self.last.refused.get(name) != Some(why) {
                tracing::warn!(policy = %name, why, "NetworkPolicy refused; its last good version stays");
            }
        }
        for (endpoint, why) in &report.denied {
            if self.last.denied.get(endpoint) != Some(why) {
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
