//! Drives the maps of Services: observe → desired → plan → apply → verify.

mod apply;
mod claim;
mod resolve;
mod verify;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use proxy_common::backends::MemberKey;

use super::{
    SyncReport,
    choice::Here,
    image::Image,
    key::FrontendKey,
    report::{Programmed, ServiceError},
    tables::ServiceTables,
};
use crate::{
    datapath::table::TableError,
    model::{Dirty, Few, Kind, ObjectName, Protocol, Snapshot, Stamp},
};

/// Nothing is written before these are listed whole (Nodes: the zone decides who serves).
const NEEDED: [Kind; 3] = [Kind::Service, Kind::EndpointSlice, Kind::Node];
/// When to go on with a pruning that met errors.
const PRUNE_AGAIN: Duration = Duration::from_millis(100);
/// After a failure that followed writes which succeeded.
const BACKOFF_MIN: Duration = Duration::from_millis(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Keeps the maps of Services in step with a snapshot.
pub struct ServiceSync {
    tables: ServiceTables,
    here: Here,
    image: Image,
    ids: Ids,
    ports: HashMap<ObjectName, Box<[Port]>>,
    pending: BTreeMap<ObjectName, Stamp>,
    failed: BTreeMap<ObjectName, Failure>,
    /// What failed attempts have written or reserved and nothing uses yet.
    stranded: HashMap<ObjectName, Stranded>,
    /// Something was removed: whatever was refused may fit now.
    freed: bool,
    /// All Services have been looked at once.
    started: bool,
    /// Entries that nobody wants any more have been removed once.
    pruned: bool,
}

/// A Service port in one family as it is programmed: its ids, and the frontends that it may hold.
#[derive(Clone, Debug)]
struct Port {
    name: Arc<str>,
    protocol: Protocol,
    ipv6: bool,
    service: u32,
    /// Ids of its sets, 0 for none.
    cluster: u32,
    local: u32,
    frontends: Few<FrontendKey>,
}

/// The last ids given out. They only grow, so that an id which stale affinity or a packet on its way still
/// knows is not soon another's.
#[derive(Clone, Copy, Debug, Default)]
struct Ids {
    service: u32,
    set: u32,
    backend: u32,
}

#[derive(Clone, Debug, Default)]
struct Stranded {
    backends: HashSet<u32>,
    members: HashSet<MemberKey>,
}

#[derive(Clone, Debug)]
struct Failure {
    error: String,
    attempts: u32,
    due: Instant,
}

impl ServiceSync {
    /// Goes on from what the maps hold: ids are kept, and nothing is written until the lists are complete.
    pub fn new(tables: ServiceTables, node: &str) -> Result<Self, TableError> {
        let (image, stray) = Image::read(&tables)?;
        let mut sync = Self {
            tables,
            here: Here {
                node: node.into(),
                zone: None,
            },
            image: Image::default(),
            ids: Ids::default(),
            ports: HashMap::new(),
            pending: BTreeMap::new(),
            failed: BTreeMap::new(),
            stranded: HashMap::new(),
            freed: false,
            started: false,
            pruned: false,
        };
        sync.adopt(image);
        sync.remove_stray(&stray)?;
        Ok(sync)
    }

    /// Changes how long useless entries are left; zero is for tests, where no packet is on its way.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.image.set_grace(grace);
        self
    }

    /// Brings in step what is dirty, what failed before and is due, and removes what came loose. Call it
    /// again after [`SyncReport::again_after`], with nothing dirty, if nothing changes.
    pub fn sync(&mut self, snapshot: &Snapshot, dirty: &Dirty) -> SyncReport {
        let now = Instant::now();
        for (name, stamp) in &dirty.services {
            self.mark(name, stamp.clone());
            if let Some(failure) = self.failed.get_mut(name) {
                failure.due = now;
            }
        }
        let mut report = SyncReport::default();
        if !snapshot.complete.has(&NEEDED) {
            let missing = |k: &Kind| !snapshot.complete.has(&[*k]);
            report.waiting = NEEDED.into_iter().filter(missing).collect();
            return report;
        }
        self.locate(snapshot);
        if !self.started {
            self.claim(snapshot);
            self.mark_all(snapshot);
            self.started = true;
        }
        self.run(snapshot, &mut report);
        if !self.pruned && !snapshot.partial {
            self.prune(&mut report);
        }
        self.finish(&mut report);
        if !self.pruned && !snapshot.partial {
            report.again_after = Some(report.again_after.unwrap_or(BACKOFF_MAX).min(PRUNE_AGAIN));
        }
        report
    }

    /// Services that are not in step, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&ObjectName, &str)> {
        self.failed.iter().map(|(n, f)| (n, f.error.as_str()))
    }

    /// What the ids of Service ports stand for: `namespace/name:port`, with the protocol where no name tells
    /// ports apart.
    pub fn names(&self) -> BTreeMap<u32, String> {
        let ports = self.ports.iter();
        let names = ports.flat_map(|(name, ports)| ports.iter().map(move |p| (p.service, name, p)));
        names
            .map(|(id, name, port)| (id, port.describe(name)))
            .collect()
    }

    /// What the maps hold, as far as is known.
    pub const fn image(&self) -> &Image {
        &self.image
    }

    /// The maps.
    pub const fn tables(&self) -> &ServiceTables {
        &self.tables
    }

    /// How many Services are programmed.
    pub fn len(&self) -> usize {
        self.ports.len()
    }

    /// Whether no Service is programmed.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    fn mark(&mut self, name: &ObjectName, stamp: Stamp) {
        match self.pending.get_mut(name) {
            Some(known) => known.merge(stamp),
            None => {
                self.pending.insert(name.clone(), stamp);
            }
        }
    }

    fn mark_all(&mut self, snapshot: &Snapshot) {
        let known: Vec<ObjectName> = self.ports.keys().cloned().collect();
        for name in known.iter().chain(snapshot.services.keys()) {
            self.mark(name, Stamp::now());
        }
    }

    /// Another zone makes other hints count.
    fn locate(&mut self, snapshot: &Snapshot) {
        let node = snapshot.nodes.get(&self.here.node);
        let zone = node.and_then(|n| n.zone.as_deref());
        if self.here.zone.as_deref() != zone {
            self.here.zone = zone.map(Arc::from);
            if self.started {
                self.mark_all(snapshot);
            }
        }
    }

    fn run(&mut self, snapshot: &Snapshot, report: &mut SyncReport) {
        let now = Instant::now();
        let due = self.failed.iter().filter(|(_, f)| f.due <= now);
        let due: Vec<ObjectName> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            self.pending.entry(name).or_insert_with(Stamp::now);
        }
        for (name, stamp) in std::mem::take(&mut self.pending) {
            let writes = report.writes;
            match self.sync_service(&name, snapshot, report) {
                Ok(()) => {
                    self.failed.remove(&name);
                    report.synced += 1;
                    report.programmed.push(Programmed {
                        since_event: stamp.arrived.elapsed(),
                        triggers: stamp.triggers,
                    });
                }
                Err(error) => self.fail(name, &error, report.writes > writes),
            }
        }
    }

    fn fail(&mut self, name: ObjectName, error: &ServiceError, progress: bool) {
        let error = error.to_string();
        let known = self.failed.get(&name);
        if known.is_none_or(|f| f.error != error) {
            tracing::warn!(service = %name, error, "Service not programmed; its last good state stays");
        }
        let attempts = known.filter(|_| !progress).map_or(0, |f| f.attempts);
        let backoff = BACKOFF_MIN.saturating_mul(1 << attempts.min(20));
        let failure = Failure {
            error,
            attempts: attempts + 1,
            due: Instant::now() + backoff.min(BACKOFF_MAX),
        };
        self.failed.insert(name, failure);
    }

    fn finish(&mut self, report: &mut SyncReport) {
        self.collect(report);
        if std::mem::take(&mut self.freed) {
            let now = Instant::now();
            for failure in self.failed.values_mut() {
                failure.due = failure.due.min(now + BACKOFF_MIN);
            }
        }
        let failed = self.failed.iter();
        report.failed = failed.map(|(n, f)| (n.clone(), f.error.clone())).collect();
        let due = self.failed.values().map(|f| f.due);
        let due = due.chain(self.image.next_removal()).min();
        report.again_after = due.map(|d| d.saturating_duration_since(Instant::now()));
    }
}

impl Port {
    fn describe(&self, name: &ObjectName) -> String {
        if self.name.is_empty() {
            name.to_string()
        } else {
            format!("{name}:{}", self.name)
        }
    }
}
