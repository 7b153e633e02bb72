//! Gathers the status that the API serves.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::readiness::Readiness;
use crate::{
    api::{
        Shared,
        messages::{
            AgentStatus, CniStatus, HealthStatus, HostStatus, LinksStatus, ObserveStatus, Status,
            SyncStatus,
        },
        version,
    },
    config::Forwarding,
    model::{Kind, Snapshot},
    observe::Store,
};

/// A full comparison.
#[derive(Clone, Copy, Debug)]
struct Full {
    ended: Instant,
    took: Duration,
    drift: u64,
}

/// What the main loop remembers for the status.
#[derive(Debug)]
pub struct Figures {
    readiness: Readiness,
    began: Instant,
    kernel: String,
    /// When the last change arrived.
    pub last_event: Option<Instant>,
    full: Option<Full>,
    sync: SyncStatus,
    /// The CNI plugin.
    pub cni: CniStatus,
    /// The way of the host's own packets.
    pub host: HostStatus,
    /// The links that carry node traffic.
    pub links: LinksStatus,
}

impl Figures {
    /// At start.
    pub fn new(readiness: Readiness) -> Self {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            readiness,
            began: Instant::now(),
            kernel: kernel.trim().to_owned(),
            last_event: None,
            full: None,
            sync: SyncStatus::default(),
            cni: CniStatus::default(),
            host: HostStatus::default(),
            links: LinksStatus::default(),
        }
    }

    /// A full comparison has ended.
    pub fn full_done(&mut self, began: Instant, drift: u64) {
        self.full = Some(Full {
            ended: Instant::now(),
            took: began.elapsed(),
            drift,
        });
    }

    /// Sync figures; those of the full comparison are filled in.
    pub fn set_sync(&mut self, sync: SyncStatus) {
        self.sync = sync;
    }

    fn sync(&self) -> SyncStatus {
        SyncStatus {
            last_full_seconds: self.full.map(|full| full.ended.elapsed().as_secs()),
            last_full_millis: self.full.map_or(0.0, |full| full.took.as_secs_f64() * 1e3),
            drift: self.full.map_or(0, |full| full.drift),
            ..self.sync.clone()
        }
    }

    /// The status now.
    pub fn status(&self, shared: &Shared, store: &Store) -> Status {
        Status {
            agent: self.agent(shared),
            observe: self.observe(store),
            sync: self.sync(),
            maps: shared.maps(),
            flows: shared.flows(),
            cni: self.cni.clone(),
            host: self.host.clone(),
            links: self.links.clone(),
            health: health(shared),
        }
    }

    fn agent(&self, shared: &Shared) -> AgentStatus {
        let config = &shared.config;
        let awaiting = self.readiness.awaiting();
        AgentStatus {
            version: version::VERSION.to_owned(),
            layout: version::layout(),
            node: config.node_name.clone(),
            pid: std::process::id(),
            uptime_seconds: self.began.elapsed().as_secs(),
            kernel: self.kernel.clone(),
            ready: awaiting.is_empty(),
            awaiting,
            forwarding: match config.forwarding {
                Forwarding::Bpf => "bpf".to_owned(),
                Forwarding::Stack => "stack".to_owned(),
            },
        }
    }

    fn observe(&self, store: &Store) -> ObserveStatus {
        let source = store.status().borrow().clone();
        let mut problems: Vec<_> = source.error.into_iter().collect();
        let invalid = store.problems().into_iter();
        problems.extend(invalid.flat_map(|((kind, name), found)| {
            found
                .into_iter()
                .map(move |problem| format!("{kind} {name}: {problem}"))
        }));
        let snapshot = store.read();
        ObserveStatus {
            source: source.source,
            complete: snapshot.complete.has(&Kind::ALL),
            objects: objects(&snapshot),
            last_event_seconds: self.last_event.map(|at| at.elapsed().as_secs()),
            problems,
        }
    }
}

fn objects(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let slices = snapshot.slices.values().map(|s| s.len()).sum::<usize>();
    [
        (Kind::Service, snapshot.services.len()),
        (Kind::EndpointSlice, slices),
        (Kind::Pod, snapshot.pods.len()),
        (Kind::Namespace, snapshot.namespaces.len()),
        (Kind::NetworkPolicy, snapshot.policies.len()),
        (Kind::Node, snapshot.nodes.len()),
    ]
    .into_iter()
    .map(|(kind, count)| (kind.to_string(), count as u64))
    .collect()
}

fn health(shared: &Shared) -> HealthStatus {
    let report = shared.health.healthz();
    HealthStatus {
        healthz_address: shared.config.healthz_bind_address.to_string(),
        healthy: report.healthy,
        node_eligible: report.node_eligible,
        metrics_address: shared.config.metrics_bind_address.to_string(),
        problems: Vec::new(),
    }
}
