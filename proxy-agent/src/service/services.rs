//! Services as the main loop knows them: their maps, health check node ports, figures.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use tokio::time::Instant;

use super::{
    HostPorts, ServiceSync, ServiceTables, SyncReport, diff, health_checks::HealthChecks,
    local_endpoints::LocalEndpoints, maglev::Builder,
};
use crate::{
    api::{
        Shared,
        health::FAMILIES,
        messages::{Names, Status},
        metrics::{Apply, IpFamily},
        readiness::{Guard, Readiness},
    },
    datapath::Maps,
    model::{Dirty, Notice, Snapshot},
    observe::Store,
    subject::{self, Depth, Here, Room, Subject, Turn, Verified, growth::InVain},
};

/// Ids that something still names: none up to these may be given out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reserved {
    /// Highest id of a Service port.
    pub service: u32,
    /// Highest id of a backend.
    pub backend: u32,
}

/// Everything about Services.
pub struct Services {
    shared: Arc<Shared>,
    maps: Maps,
    sync: ServiceSync,
    local: LocalEndpoints,
    checks: HealthChecks,
    due: Instant,
    seen: Seen,
    /// Maps that do not grow though somebody waits for it.
    in_vain: InVain,
    /// They were not in step yet.
    first: Option<Guard>,
    compared: Compared,
    /// Why what somebody changed is not set right.
    unmended: Option<String>,
}

/// The comparison that is under way.
#[derive(Debug, Default)]
struct Compared {
    took: Duration,
    drift: usize,
}

/// What was read of what others told.
#[derive(Debug, Default)]
struct Seen {
    host_ports: u64,
    addresses: u64,
    listen_on: u64,
    in_vain: u64,
}

impl Services {
    /// Goes on from what the maps hold.
    pub fn open(
        shared: &Arc<Shared>,
        maps: &Maps,
        reserved: Reserved,
        readiness: &Readiness,
    ) -> anyhow::Result<Self> {
        let node = &shared.config.node_name;
        let sync =
            ServiceSync::new(ServiceTables::from(maps), node).context("read the Services' maps")?;
        let settings = &shared.config.load_balancer;
        let builder = Builder::beside(&shared.watchdog)
            .context("start the thread that builds Maglev tables")?;
        let mut sync = sync
            .with_external_ips(shared.config.services.external_ips)
            .with_forwarding(settings.mode)
            .with_maglev(settings.table_size(), builder);
        sync.stay_above(reserved.service, reserved.backend);
        Ok(Self {
            shared: Arc::clone(shared),
            maps: maps.clone(),
            sync,
            local: LocalEndpoints::default(),
            checks: HealthChecks::serve(shared),
            due: Instant::now(),
            seen: Seen::default(),
            in_vain: InVain::new(),
            first: Some(readiness.register("first sync")),
            compared: Compared::default(),
            unmended: None,
        })
    }

    /// Takes over what others told; whether something is to be brought in step for it.
    fn listen(&mut self, here: &Here) -> bool {
        if let Some(addresses) = here.addresses.news(&mut self.seen.addresses) {
            self.sync.set_own_addresses(addresses);
        }
        if let Some(on) = here.listen_on.news(&mut self.seen.listen_on) {
            self.checks.listen_on(on);
        }
        if let Some(in_vain) = here.in_vain.news(&mut self.seen.in_vain) {
            self.in_vain.clone_from(in_vain);
        }
        let wanted = here.host_ports.news(&mut self.seen.host_ports);
        wanted.is_some_and(|wanted| {
            let wanted = HostPorts::of(wanted.iter().cloned());
            self.sync.set_host_ports(wanted)
        })
    }

    fn tell(&self, here: &mut Here) {
        let missing = self.sync.host_ports_not_in_force();
        here.no_host_ports.tell(missing);
        here.serving.tell(self.first.is_none());
    }

    /// Tells metrics that changes wait. Before the first sync nothing is late.
    fn queued(&self, dirty: &Dirty) {
        let metrics = &self.shared.metrics;
        for stamp in dirty.services.values() {
            metrics.service_changes.inc_by(stamp.services.into());
            metrics.endpoint_changes.inc_by(stamp.slices.into());
        }
        let stamps = || dirty.services.values();
        let services = stamps().filter(|s| s.services > 0).count();
        self.count_waiting(services, stamps().filter(|s| s.slices > 0).count());
        if self.first.is_none() {
            for family in FAMILIES {
                let labels = IpFamily::new(family);
                let queued = metrics.last_queued.get_or_create(&labels);
                queued.set(unix_seconds());
            }
        }
    }

    fn synced(&mut self, report: &SyncReport, began: Instant) {
        let first = self.first.take().is_some();
        if first {
            self.shared.health.begin();
            tracing::info!(
                services = report.synced,
                writes = report.writes,
                took = ?began.elapsed(),
                "first sync done"
            );
        }
        self.measure(report, began.elapsed(), first);
    }

    /// Keeps the books of a piece of a comparison.
    fn compared(
        &mut self,
        report: &SyncReport,
        done: bool,
        depth: Depth,
        took: Duration,
    ) -> Verified {
        if let Some(again) = report.again_after {
            self.due = self.due.min(subject::after(Some(again)));
        }
        self.compared.took += took;
        self.compared.drift += report.drift;
        if !done {
            self.count_errors("verify", report.errors);
            return Verified::More(report.drift);
        }
        self.unmended = None;
        let Compared { took, drift } = std::mem::take(&mut self.compared);
        if drift > 0 {
            tracing::warn!(
                entries = drift,
                "maps of Services were changed by somebody else"
            );
            // What was put back may be what datagrams wait for.
            self.due = Instant::now();
        }
        if depth == Depth::Whole {
            self.measure(report, took, true);
        }
        Verified::Done(report.drift)
    }

    fn count_errors(&self, operation: &'static str, count: usize) {
        if count > 0 {
            let errors = &self.shared.metrics.apply_errors;
            let labels = Apply::new("service", operation);
            errors.get_or_create(&labels).inc_by(count as u64);
        }
    }

    /// Tells metrics that a sync came to its end, and what it could not apply.
    fn measure(&self, report: &SyncReport, took: Duration, full: bool) {
        let metrics = &self.shared.metrics;
        self.count_waiting(0, 0);
        for done in &report.programmed {
            metrics.watch_to_map.observe(done.since_event.as_secs_f64());
        }
        self.count_errors(if full { "verify" } else { "sync" }, report.errors);
        let took = took.as_secs_f64();
        let kind = if full {
            &metrics.sync_full
        } else {
            &metrics.sync_partial
        };
        for family in FAMILIES {
            let labels = IpFamily::new(family);
            metrics.sync.get_or_create(&labels).observe(took);
            kind.get_or_create(&labels).observe(took);
            if self.sync.broken().is_none() {
                let last = metrics.last_sync.get_or_create(&labels);
                last.set(unix_seconds());
            }
        }
        self.programmed(report);
        self.local.count(metrics);
    }

    /// Each trigger counts for the family of its slice alone.
    fn programmed(&self, report: &SyncReport) {
        let now = SystemTime::now();
        let programming = &self.shared.metrics.network_programming;
        for trigger in report.programmed.iter().flat_map(|done| &done.triggers) {
            let labels = IpFamily::new(FAMILIES[usize::from(trigger.ipv6)]);
            // A clock that runs behind the API server's must not make a negative duration.
            let took = now.duration_since(trigger.at).unwrap_or_default();
            programming
                .get_or_create(&labels)
                .observe(took.as_secs_f64());
        }
    }

    /// Tells metrics what waits, beside so many changes that are new.
    fn count_waiting(&self, services: usize, slices: usize) {
        let metrics = &self.shared.metrics;
        let (failed, failed_slices) = self.sync.waiting();
        let pending = &metrics.service_changes_pending;
        pending.set(count(failed + services));
        let pending = &metrics.endpoint_changes_pending;
        pending.set(count(failed_slices + slices));
    }
}

impl Subject for Services {
    fn name(&self) -> &'static str {
        "Services"
    }

    fn sync(&mut self, turn: &Turn<'_>, here: &mut Here) {
        let dirty = turn.dirty;
        let told = self.listen(here);
        let changed = turn.relisted || !dirty.services.is_empty() || !dirty.nodes.is_empty();
        // Before the first sync it is that which does it.
        let told = told && self.first.is_none();
        if changed || told || self.due <= Instant::now() {
            self.queued(dirty);
            let began = Instant::now();
            let report = self.sync.sync(turn.snapshot, dirty);
            self.due = subject::after(report.again_after);
            if self.local.update(turn.snapshot, dirty.services.keys()) {
                self.checks.want(self.local.checks());
            }
            if report.waiting.is_empty() {
                self.synced(&report, began);
            }
        }
        self.tell(here);
    }

    fn due(&self) -> Instant {
        self.due
    }

    fn verify(&mut self, store: &Store, budget: usize, depth: Depth) -> Verified {
        if self.first.is_some() {
            return Verified::Done(0);
        }
        let began = Instant::now();
        let mut report = SyncReport::default();
        let verified = match depth {
            Depth::Maps => self.sync.verify_maps(budget, &mut report),
            Depth::Whole => self.sync.verify(|| store.read(), budget, &mut report),
        };
        match verified {
            Ok(done) => self.compared(&report, done, depth, began.elapsed()),
            Err(error) => {
                self.compared = Compared::default();
                self.count_errors("verify", 1);
                tracing::error!(%error, "full comparison of Services failed");
                self.unmended = Some(error.to_string());
                Verified::Failed(0)
            }
        }
    }

    fn broken(&self) -> Option<&str> {
        self.sync.broken().or(self.unmended.as_deref())
    }

    fn waits_for_room(&self, room: &mut Room) {
        self.sync.waits_for_room(room);
    }

    fn resized(&mut self, _: &BTreeMap<String, u32>) {
        self.sync.resized();
        self.due = Instant::now();
    }

    fn status(&self, status: &mut Status) {
        let sync = &mut status.sync;
        let failures = || self.sync.failures();
        sync.services = self.sync.len() as u64;
        sync.services_failed = self.sync.missing() as u64;
        let image = self.sync.image();
        sync.backends = (image.pool4.len() + image.pool6.len()) as u64;
        sync.errors
            .extend(failures().map(|(owner, error)| format!("{}: {error}", owner.in_words())));
        let shadowed = self.sync.shadowed().into_iter();
        sync.errors
            .extend(shadowed.map(|(owner, why)| format!("{}: {why}", owner.in_words())));
        sync.errors.extend(self.sync.without_tables());
        sync.errors.extend(self.checks.problems());
    }

    fn notices(&self) -> Vec<Notice> {
        let mut notices = self.sync.notices(&self.in_vain);
        notices.extend(self.checks.notices());
        notices
    }

    fn names(&self, names: &mut Names) {
        names.services = self.sync.names();
    }

    fn diff(&self, snapshot: &Snapshot) -> anyhow::Result<Vec<String>> {
        let node = &self.shared.config.node_name;
        let config = &self.shared.config;
        let settings = (config.services, config.load_balancer.mode);
        diff::services(snapshot, self.sync.host_ports(), &self.maps, node, settings)
    }
}

/// A number for a gauge.
fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}
