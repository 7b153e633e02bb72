//! Gathers the status that the API serves.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::annotations;
use crate::{
    api::{
        Shared,
        messages::{AgentStatus, HealthStatus, ObserveStatus, Status},
        metrics::{KindName, Metrics},
        readiness::Readiness,
        version,
    },
    config::Forwarding,
    model::{Kind, Snapshot},
    observe::Store,
    subject::Subject,
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
    last_event: Option<Instant>,
    full: Option<Full>,
    /// When the last status was made.
    pub published: Instant,
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
            published: Instant::now(),
        }
    }

    /// The status before anything was begun: who asks early is told no more than is known.
    pub fn at_start(&self, shared: &Shared) -> Status {
        Status {
            agent: self.agent(shared),
            health: health(shared),
            ..Status::default()
        }
    }

    /// A change has arrived.
    pub fn changed(&mut self) {
        self.last_event = Some(Instant::now());
    }

    /// Whether Services were brought in step once: that began from what the maps hold, so it was a full comparison.
    pub fn began_serving(&mut self, shared: &Shared, serving: bool, began: Instant) {
        if serving && self.full.is_none() {
            let took = began.elapsed().as_secs_f64();
            shared.metrics.first_sync.set(took);
            self.full = Some(Full {
                ended: Instant::now(),
                took: began.elapsed(),
                drift: 0,
            });
        }
    }

    /// A full comparison has ended.
    pub fn full_done(&mut self, shared: &Shared, began: Instant, drift: usize) {
        let gauge = &shared.metrics.drift_entries;
        gauge.set(i64::try_from(drift).unwrap_or(i64::MAX));
        self.full = Some(Full {
            ended: Instant::now(),
            took: began.elapsed(),
            drift: drift as u64,
        });
    }

    /// The status now.
    pub fn status(&mut self, shared: &Shared, store: &Store, subjects: &[&dyn Subject]) -> Status {
        self.published = Instant::now();
        let mut status = Status {
            agent: self.agent(shared),
            observe: self.observe(store),
            maps: shared.maps(),
            flows: shared.flows(),
            health: health(shared),
            ..Status::default()
        };
        status.sync.last_full_seconds = self.full.map(|full| full.ended.elapsed().as_secs());
        status.sync.last_full_millis = self.full.map_or(0.0, |full| full.took.as_secs_f64() * 1e3);
        status.sync.drift = self.full.map_or(0, |full| full.drift);
        for subject in subjects {
            subject.status(&mut status);
        }
        status.sync.errors.extend(shared.config_error());
        status.way_notes.extend(annotations::of_ways(&store.read()));
        count_restarts(shared, store);
        status
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
            restart_for: shared.restart_for(),
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

/// Relists of each watch.
fn count_restarts(shared: &Shared, store: &Store) {
    for (kind, restarts) in store.restarts() {
        let labels = KindName::new(kind.to_string());
        let counter = shared.metrics.watch_restarts.get_or_create(&labels);
        Metrics::raise(&counter, restarts);
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
        problems: shared
            .health
            .fault()
            .map(|fault| fault.text)
            .into_iter()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{EnvFilter, reload};

    use super::*;
    use crate::{api::log_level::LogLevel, config::Configuration};

    #[test]
    fn who_asks_before_anything_was_begun_is_told_nothing_untrue() {
        let (_filter, handle) = reload::Layer::new(EnvFilter::new("info"));
        let config = Configuration::default();
        let store = Store::new();
        let shared = Shared::new(config, Metrics::new(), LogLevel::new(handle), &store);
        let readiness = Readiness::default();
        let _begins = readiness.register("programs and maps");
        let status = Figures::new(readiness).at_start(&shared);
        assert_eq!(status.agent.version, version::VERSION);
        assert!(!status.agent.ready);
        assert!(status.health.healthy && status.health.node_eligible);
    }
}
