//! Drives the maps of Services: observe → desired → plan → apply → verify.

mod after;
mod apply;
mod claim;
mod crowd;
mod draft;
mod notices;
mod port;
mod resolve;
mod shadow;
mod tables;
mod takers;
mod turn;
mod verify;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use proxy_common::backends::MemberKey;

use after::After;
use port::Port;
use tables::Maglev;
use turn::BACKOFF_MAX;
use verify::Comparison;

use super::{
    HostPorts, Owner, SyncReport, api_servers::ApiServers, desired::Place, image::Image,
    key::FrontendKey, node_ports::NodePorts, tables::ServiceTables,
};
use crate::{
    datapath::table::TableError,
    model::{Dirty, ForwardingMode, Kind, ObjectName, Snapshot, Stamp, full},
};

/// Nothing is written before these are listed whole, and the Nodes: the zone decides who serves. Where Nodes are
/// refused, no zone counts.
const NEEDED: [Kind; 2] = [Kind::Service, Kind::EndpointSlice];
/// When to go on with a pruning that met errors.
const PRUNE_AGAIN: Duration = Duration::from_millis(100);

/// Keeps the maps of Services in step with a snapshot.
#[expect(
    clippy::struct_excessive_bools,
    reason = "what has happened once, each by itself"
)]
pub struct ServiceSync {
    tables: ServiceTables,
    /// Name of this node.
    node: Arc<str>,
    place: Place,
    /// `spec.externalIPs` are not served.
    no_external_ips: bool,
    forwarding: ForwardingMode,
    image: Image,
    ids: Ids,
    ports: BTreeMap<Owner, Box<[Port]>>,
    host_ports: HostPorts,
    pending: BTreeMap<Owner, Stamp>,
    failed: BTreeMap<Owner, Failure>,
    /// What failed attempts have written and nothing uses yet.
    stranded: HashMap<Owner, Stranded>,
    node_ports: NodePorts,
    after: After,
    /// Frontends that Services wait for which others have: who leaves one leaves it to them.
    awaited: BTreeSet<FrontendKey>,
    /// Something was removed: whatever was refused may fit now.
    freed: bool,
    /// All Services have been looked at once.
    started: bool,
    /// Entries that nobody wants any more have been removed once.
    pruned: bool,
    comparison: Comparison,
    maglev: Maglev,
    /// What of Services is not served, and why, as it was said.
    unserved: BTreeMap<ObjectName, Vec<String>>,
}

/// The last ids given out. They only grow, so that an id which stale affinity or a packet on its way still
/// knows is not soon another's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ids {
    service: u32,
    set: u32,
    backend: u32,
}

#[derive(Clone, Debug, Default)]
struct Stranded {
    backends: HashSet<u32>,
    members: HashSet<MemberKey>,
    /// Sets that have more slots than they use.
    sets: HashSet<u32>,
}

#[derive(Clone, Debug)]
struct Failure {
    error: String,
    /// Everything is programmed but for frontends that others have.
    taken: bool,
    /// The kernel did not take a write; else it is refused, and waits for another change or for room.
    broken: bool,
    attempts: u32,
    due: Instant,
    /// The map in which it found no room, and how much it needs.
    room: Option<(String, u32)>,
    /// Since when it finds none.
    since: Instant,
    /// What waits.
    stamp: Stamp,
}

/// What is needed and still to be listed.
fn lacking(snapshot: &Snapshot) -> Vec<Kind> {
    let missing = |kind: &Kind| !snapshot.complete.has(&[*kind]);
    let nodes = (!snapshot.nodes_known()).then_some(Kind::Node);
    NEEDED.into_iter().filter(missing).chain(nodes).collect()
}

impl ServiceSync {
    /// Goes on from what the maps hold: ids are kept, and nothing is written until the lists are complete.
    pub fn new(tables: ServiceTables, node: &str) -> Result<Self, TableError> {
        let (image, stray) = Image::read(&tables)?;
        let mut sync = Self {
            tables,
            node: node.into(),
            place: Place::default(),
            no_external_ips: false,
            forwarding: ForwardingMode::default(),
            image: Image::default(),
            ids: Ids::default(),
            ports: BTreeMap::new(),
            host_ports: HostPorts::default(),
            pending: BTreeMap::new(),
            failed: BTreeMap::new(),
            stranded: HashMap::new(),
            node_ports: NodePorts::default(),
            after: After::start(),
            awaited: BTreeSet::new(),
            freed: false,
            started: false,
            pruned: false,
            comparison: Comparison::default(),
            maglev: Maglev::default(),
            unserved: BTreeMap::new(),
        };
        sync.adopt(image);
        sync.remove_stray(&stray)?;
        Ok(sync)
    }

    /// Whether it serves `spec.externalIPs`; it does unless told otherwise.
    #[must_use]
    pub const fn with_external_ips(mut self, serve: bool) -> Self {
        self.no_external_ips = !serve;
        self
    }

    /// How it reaches backends on other nodes for what comes from outside, where Services do not say; `snat` unless told
    /// otherwise.
    #[must_use]
    pub const fn with_forwarding(mut self, mode: ForwardingMode) -> Self {
        self.forwarding = mode;
        self
    }

    /// Gives out no id of a Service port or a backend up to these: flows and affinity name them.
    pub fn stay_above(&mut self, service: u32, backend: u32) {
        self.ids.service = self.ids.service.max(service);
        self.ids.backend = self.ids.backend.max(backend);
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
            let owner = Owner::Service(name.clone());
            if let Some(failure) = self.failed.get_mut(&owner) {
                failure.due = now;
            }
            self.mark(owner, stamp.clone());
        }
        let mut report = SyncReport {
            waiting: lacking(snapshot),
            ..SyncReport::default()
        };
        if !report.waiting.is_empty() {
            return report;
        }
        self.locate(snapshot);
        let first = !std::mem::replace(&mut self.started, true);
        if first {
            self.claim(snapshot);
            self.mark_all(snapshot);
        }
        self.run(snapshot, &mut report);
        if first {
            full(&mut self.ports);
            self.image.pack();
        }
        self.tend_tables(&mut report);
        if !self.pending.is_empty() {
            self.run(snapshot, &mut report);
        }
        if !self.pruned && !snapshot.partial {
            self.prune(&mut report);
        }
        self.finish(&mut report);
        if !self.pruned && !snapshot.partial {
            report.again_after = Some(report.again_after.unwrap_or(BACKOFF_MAX).min(PRUNE_AGAIN));
        }
        report
    }

    /// What the `hostPort`s of this node's pods want from now on; false if that is nothing new. The next sync
    /// brings it in step.
    pub fn set_host_ports(&mut self, wanted: HostPorts) -> bool {
        let changed = self.host_ports.changed(&wanted);
        let changed: Vec<Arc<str>> = changed.into_iter().cloned().collect();
        for pod in &changed {
            self.mark(Owner::Pod(Arc::clone(pod)), Stamp::now());
        }
        self.host_ports = wanted;
        !changed.is_empty()
    }

    /// The node's own addresses from now on, in order.
    pub fn set_own_addresses(&mut self, addresses: &[IpAddr]) {
        if self.node_ports.set_own(addresses) {
            let words = &mut *self.tables.node_ports;
            self.node_ports.recount(&self.image, words);
        }
    }

    /// What the `hostPort`s of this node's pods want.
    pub const fn host_ports(&self) -> &HostPorts {
        &self.host_ports
    }

    /// Pods whose `hostPort`s are not in force, but for those that Services have, and why.
    pub fn host_ports_not_in_force(&self) -> BTreeMap<String, String> {
        let waiting = self.pending.keys().filter_map(Owner::pod);
        let waiting = waiting.map(|pod| (pod, "the lists of Services are not complete"));
        let failed = self.failed.iter().filter(|(_, failure)| !failure.taken);
        let failed = failed.filter_map(|(owner, f)| Some((owner.pod()?, f.error.as_str())));
        let missing = failed.chain(waiting);
        missing
            .map(|(pod, why)| (pod.to_owned(), why.to_owned()))
            .collect()
    }

    /// Who is not in step, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&Owner, &str)> {
        self.failed.iter().map(|(n, f)| (n, f.error.as_str()))
    }

    /// Likewise, but for those that only wait for a frontend which another one has.
    pub fn failures_but_conflicts(&self) -> impl Iterator<Item = (&Owner, &str)> {
        let failed = self.failed.iter().filter(|(_, failure)| !failure.taken);
        failed.map(|(n, f)| (n, f.error.as_str()))
    }

    /// How many Services could not be programmed. One of which only a frontend is another one's is not missed.
    pub fn missing(&self) -> usize {
        let failed = self.failures_but_conflicts();
        failed
            .filter(|(o, _)| matches!(o, Owner::Service(_)))
            .count()
    }

    /// Why the kernel does not take a write, if there is such a one.
    pub fn broken(&self) -> Option<&str> {
        let mut failed = self.failed.values();
        failed.find(|f| f.broken).map(|f| f.error.as_str())
    }

    /// How many Services are not in step with a change of themselves, and how many with one of their slices.
    pub fn waiting(&self) -> (usize, usize) {
        let failed = self.failed.iter();
        let services = failed.filter(|(owner, _)| matches!(owner, Owner::Service(_)));
        let stamps: Vec<&Stamp> = services.map(|(_, failure)| &failure.stamp).collect();
        let by_slices = |s: &&&Stamp| s.slices > 0;
        let by_service = |s: &&&Stamp| s.services > 0 || s.slices == 0;
        (
            stamps.iter().filter(by_service).count(),
            stamps.iter().filter(by_slices).count(),
        )
    }

    /// What the ids of Service ports stand for: `namespace/name:port`, or `pod/namespace/name:port`.
    pub fn names(&self) -> BTreeMap<u32, String> {
        let ports = self.ports.iter();
        let names = ports.flat_map(|(owner, ports)| ports.iter().map(move |p| (owner, p)));
        names
            .map(|(owner, port)| (port.service, port.describe(owner)))
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
        let owners = self.ports.keys();
        owners.filter(|o| matches!(o, Owner::Service(_))).count()
    }

    /// Whether no Service is programmed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn mark(&mut self, owner: Owner, stamp: Stamp) {
        match self.pending.entry(owner) {
            Entry::Occupied(mut known) => known.get_mut().merge(stamp),
            Entry::Vacant(new) => drop(new.insert(stamp)),
        }
    }

    fn mark_all(&mut self, snapshot: &Snapshot) {
        let known = self.ports.keys().cloned();
        let services = snapshot.services.keys().cloned().map(Owner::Service);
        let pods = self.host_ports.pods().cloned().map(Owner::Pod);
        let all: Vec<Owner> = known.chain(services).chain(pods).collect();
        for owner in all {
            self.mark(owner, Stamp::now());
        }
    }

    /// Another zone makes other hints count, another address other source ranges, and no Service has what is an API server's.
    fn locate(&mut self, snapshot: &Snapshot) {
        let node = snapshot.nodes.get(&self.node);
        let mut place = node.map_or_else(Place::default, |node| Place::of(node));
        place.no_external_ips = self.no_external_ips;
        place.forwarding = self.forwarding;
        place.api_servers = ApiServers::of(snapshot);
        if self.place != place {
            self.place = place;
            if self.started {
                self.mark_all(snapshot);
            }
        }
    }
}
