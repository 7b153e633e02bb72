//! The Services' part of a sync: maps, health check node ports, figures.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::SystemTime};

use anyhow::Context as _;

use super::{local_endpoints::LocalEndpoints, named_ids::NamedIds};
use crate::{
    api::{
        Shared, health::FAMILIES, health_check_node_port::HealthCheckNodePorts, listen::ListenOn,
        messages::SyncStatus, metrics::IpFamily,
    },
    datapath::Maps,
    model::{Dirty, Snapshot},
    service::{HostPorts, ServiceSync, ServiceTables, SyncReport},
};

/// Everything about Services.
pub struct Services {
    shared: Arc<Shared>,
    sync: ServiceSync,
    local: LocalEndpoints,
    ports: HealthCheckNodePorts,
    port_problems: Vec<String>,
}

impl Services {
    /// Goes on from what the maps hold.
    pub fn open(shared: &Arc<Shared>, maps: &Maps) -> anyhow::Result<Self> {
        let node = &shared.config.node_name;
        let sync =
            ServiceSync::new(ServiceTables::from(maps), node).context("read the Services' maps")?;
        Ok(Self {
            shared: Arc::clone(shared),
            sync,
            local: LocalEndpoints::default(),
            ports: HealthCheckNodePorts::new(Arc::clone(shared)),
            port_problems: Vec::new(),
        })
    }

    /// Gives out no id that is still named.
    pub fn stay_above(&mut self, named: &NamedIds) {
        self.sync.stay_above(named.service, named.backend);
    }

    /// Brings the maps in step with what is dirty.
    pub fn sync(&mut self, snapshot: &Snapshot, dirty: &Dirty) -> SyncReport {
        let report = self.sync.sync(snapshot, dirty);
        self.local.update(snapshot, dirty.services.keys());
        self.observe(&report);
        report
    }

    /// Compares everything with the maps and sets right what differs.
    pub fn verify(&mut self, snapshot: &Snapshot) -> anyhow::Result<SyncReport> {
        let report = self
            .sync
            .verify(snapshot)
            .context("compare the Services' maps")?;
        self.local.update(snapshot, snapshot.services.keys());
        self.observe(&report);
        Ok(report)
    }

    /// What the `hostPort`s of this node's pods want from now on; false if that is nothing new.
    pub fn set_host_ports(&mut self, wanted: HostPorts) -> bool {
        self.sync.set_host_ports(wanted)
    }

    /// The node's own addresses from now on, in order.
    pub fn set_own_addresses(&mut self, addresses: &[IpAddr]) {
        self.sync.set_own_addresses(addresses);
    }

    /// What they want.
    pub const fn host_ports(&self) -> &HostPorts {
        self.sync.host_ports()
    }

    /// Whether the `hostPort`s of a pod are in force; else why not.
    pub fn host_ports_in_force(&self, pod: &str) -> Result<(), String> {
        self.sync.host_ports_in_force(pod)
    }

    /// Opens and closes health check node ports.
    pub async fn listen(&mut self, on: ListenOn) {
        let problems = self.ports.sync(self.local.checks(), on).await;
        for problem in problems.iter().filter(|p| !self.port_problems.contains(p)) {
            tracing::warn!("{problem}");
        }
        self.port_problems = problems;
    }

    /// A write that the kernel does not take, of those that are tried again.
    pub fn broken(&self) -> Option<&str> {
        self.sync.broken()
    }

    /// How many Services are not in step with a change of themselves, and how many with one of their slices.
    pub fn waiting(&self) -> (usize, usize) {
        self.sync.waiting()
    }

    /// What the ids of Service ports stand for.
    pub fn names(&self) -> BTreeMap<u32, String> {
        self.sync.names()
    }

    /// Fills in the figures.
    pub fn status(&self, status: &mut SyncStatus) {
        let failures = || self.sync.failures();
        status.services = self.sync.len() as u64;
        status.services_failed = failures().count() as u64;
        let image = self.sync.image();
        status.backends = (image.pool4.len() + image.pool6.len()) as u64;
        status
            .errors
            .extend(failures().map(|(owner, error)| format!("{}: {error}", owner.in_words())));
        status.errors.extend(self.port_problems.iter().cloned());
    }

    fn observe(&self, report: &SyncReport) {
        let metrics = &self.shared.metrics;
        for done in &report.programmed {
            metrics.watch_to_map.observe(done.since_event.as_secs_f64());
        }
        let now = SystemTime::now();
        let triggers = report.programmed.iter().flat_map(|done| &done.triggers);
        for trigger in triggers {
            // A clock that runs behind the API server's must not make a negative duration.
            let took = now.duration_since(*trigger).unwrap_or_default();
            for family in FAMILIES {
                let labels = IpFamily::new(family);
                metrics
                    .network_programming
                    .get_or_create(&labels)
                    .observe(took.as_secs_f64());
            }
        }
        self.local.count(metrics);
    }
}
