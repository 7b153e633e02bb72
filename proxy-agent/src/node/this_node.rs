//! The node as the main loop knows it: when it is due to be looked at, what the last look found, and who is told of it. What
//! is read of the machine and written to it is on a thread of its own ([`super::worker`]).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::time::Instant;

use super::{
    claims::{Claims, decide::Settings},
    condition::NodeCondition,
    encryption::{self, publish::KeyPublisher},
    found::{Found, Said},
    host_device::Published,
    monitor::Monitor,
    routes::OURS,
    service_ranges::ServiceRanges,
    telling::Telling,
    upkeep::{Job, Look, Upkeep},
    ways::Between,
    worker::Worker,
};
use crate::{
    api::{
        Shared,
        messages::{Names, Status},
        readiness::{Guard, Readiness},
    },
    config::{Conntrack, MasqueradeSettings},
    datapath::{Maps, SharedDatapath},
    model::{EventReason, Kind, Node, Notice, ObjectName, Snapshot},
    observe::Store,
    subject::{Asked, Depth, Here, Room, Subject, Turn, Verified, after},
    watchdog,
};

/// How often the machine is looked at, besides whenever there is news of it: not all that somebody may break is told.
pub const PERIOD: Duration = Duration::from_secs(5);
/// How often the plugin is shown that the agent lives.
const BEAT: Duration = Duration::from_secs(2);

/// Everything about the node.
pub struct ThisNode {
    shared: Arc<Shared>,
    monitor: Monitor,
    ranges: ServiceRanges,
    claims: Claims,
    /// By what ranges are claimed.
    settings: Settings,
    worker: Worker,
    /// As the worker told it last.
    found: Found,
    telling: Telling,
    /// The own Node as it was seen last.
    own: Option<Arc<Node>>,
    /// What Nodes name and others have, by Node.
    conflicts: BTreeMap<Arc<str>, String>,
    /// Services are in force.
    serving: bool,
    next: Instant,
    next_beat: Instant,
    next_mend: Instant,
    /// A look that is due, and waits for the worker.
    look: Option<Look>,
    asked: Asked,
    /// The first look, and the installation of the plugin, are awaited.
    begun: Option<Guard>,
    opened: Option<Guard>,
    /// What the last look went by.
    conntrack: Conntrack,
    /// What the last look went by.
    masquerade: MasqueradeSettings,
    /// What the last look went by.
    between: Between,
    /// A Service asks for packets to be relayed.
    relayed: bool,
}

impl ThisNode {
    /// Takes up the node as it is, and begins its worker.
    pub fn open(
        shared: &Arc<Shared>,
        (maps, datapath): (&Maps, &SharedDatapath),
        readiness: &Readiness,
        (condition, ranges, claims, key): (&NodeCondition, &ServiceRanges, &Claims, &KeyPublisher),
    ) -> anyhow::Result<Self> {
        let install = shared.config.cni.install;
        let config = shared.configuration();
        let upkeep = Upkeep::open(shared, (maps, datapath), claims)?;
        let found = upkeep.found();
        let work = shared.watchdog.work("upkeep of the node", watchdog::LIMIT);
        Ok(Self {
            shared: Arc::clone(shared),
            monitor: Monitor::begin(
                &OURS,
                ["news of links", "news of narrow ways"].map(|what| shared.watchdog.register(what)),
            ),
            ranges: ranges.clone(),
            claims: claims.clone(),
            settings: Settings::of(&config),
            worker: Worker::begin(upkeep, work).context("begin the node's worker")?,
            found,
            telling: Telling::new(condition, key),
            own: None,
            conflicts: BTreeMap::new(),
            serving: false,
            next: Instant::now(),
            next_beat: Instant::now(),
            next_mend: Instant::now(),
            look: None,
            asked: Asked::Nobody,
            begun: Some(readiness.register("first look at the node")),
            opened: install.then(|| readiness.register("installation of the CNI plugin")),
            conntrack: config.conntrack,
            masquerade: config.masquerade.clone(),
            between: Between::of(&config),
            relayed: false,
        })
    }

    /// Returns when the worker has found something, when the machine has changed, or the ranges of Services; the next sync sees
    /// to it. May be dropped at any time.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = self.worker.done() => return,
            () = self.monitor.changed() => {}
            () = self.ranges.changed() => {}
            () = self.claims.changed() => {}
        }
        self.next = Instant::now();
        self.next_mend = self.next;
    }

    /// Whether the machine is to be looked at.
    fn is_due(&mut self, turn: &Turn<'_>, here: &Here, now: Instant) -> bool {
        let serving = *here.serving.get();
        let begins = serving && !std::mem::replace(&mut self.serving, serving);
        begins
            || turn.relisted
            || serving && !turn.dirty.nodes.is_empty()
            || now >= self.next
            || self.conntrack != self.shared.conntrack()
            || self.masquerade != self.shared.configuration().masquerade
            || self.between != Between::of(&self.shared.configuration())
            || self.relayed != (turn.snapshot.relayed > 0)
    }

    /// Has the node's claim looked at, if its Node or what claims go by has changed.
    fn look_at_claim(&mut self, turn: &Turn<'_>) {
        let settings = Settings::of(&self.shared.configuration());
        let node = self.shared.config.node_name.as_str();
        if turn.dirty.nodes.contains(node) || settings != self.settings {
            self.settings = settings;
            self.claims.look();
        }
    }

    /// What the next look goes by. Before the Nodes are listed there is none, and the node stays as a former agent left it:
    /// with no address of its own known, traffic that needs one would break.
    fn look_at(&mut self, snapshot: &Snapshot) -> Option<Look> {
        if !snapshot.nodes_known() {
            self.asked = Asked::Nobody;
            return None;
        }
        let config = self.shared.configuration();
        self.conntrack = config.conntrack;
        self.masquerade.clone_from(&config.masquerade);
        self.between = Between::of(&config);
        let published = self.ranges.published_for(&config);
        Some(Look {
            snapshot: of_node(snapshot, &published),
            published,
            config,
            serving: self.serving,
        })
    }

    /// Takes what the worker has found, and tells it.
    fn take_found(&mut self, here: &mut Here) {
        let Some(outcome) = self.worker.take() else {
            return;
        };
        self.asked.end();
        let Some(mut found) = outcome else {
            return;
        };
        if let Some(said) = found.said.take() {
            self.tell(&said);
        }
        self.found = found;
        self.tell_here(here);
    }

    fn tell(&mut self, said: &Said) {
        self.begun = None;
        if said.opened {
            self.opened = None;
        }
        let own = self.own.as_deref();
        if let Some(node) = own {
            self.telling.tell(node, said);
        }
        let leaves = own.is_some_and(|node| node.leaving);
        self.shared.health.set_eligible(!leaves);
    }

    fn tell_here(&self, here: &mut Here) {
        let Found {
            addresses,
            ranges,
            listen_on,
            ..
        } = &self.found;
        if here.addresses.get() != addresses {
            here.addresses.tell(addresses.clone());
        }
        if here.ranges.get() != ranges {
            here.ranges.tell(ranges.clone());
        }
        if let Some(listen_on) = listen_on.as_ref().filter(|on| *on != here.listen_on.get()) {
            here.listen_on.tell(listen_on.clone());
        }
    }

    /// What is due by now. Whatever becomes due while the worker is busy is in its next job.
    fn job(&mut self, here: &Here) -> Option<Job> {
        let now = Instant::now();
        let beat = is_over(&mut self.next_beat, now, BEAT);
        let mends = is_over(&mut self.next_mend, now, PERIOD);
        let job = Job {
            beat,
            look: self.look.take(),
            mend: mends.then(|| here.wires.get().clone()),
        };
        if job.look.is_some() {
            self.asked.begin();
        }
        let is_any = job.beat || job.look.is_some() || job.mend.is_some();
        is_any.then_some(job)
    }
}

/// What Nodes name and others have. One whose object is gone needs no telling.
fn conflicts(snapshot: &Snapshot, encrypts: bool) -> BTreeMap<Arc<str>, String> {
    let nodes = snapshot.nodes.iter().filter(|(_, node)| !node.gone);
    let conflicts = nodes.filter_map(|(name, node)| Some((Arc::clone(name), node.conflict()?)));
    let mut conflicts: BTreeMap<_, _> = conflicts.collect();
    if encrypts {
        for (name, note) in encryption::conflicts(snapshot) {
            let said = conflicts.entry(name).or_default();
            let divided = if said.is_empty() { "" } else { "; " };
            *said = format!("{said}{divided}{note}");
        }
    }
    conflicts
}

/// Whether a time has come; the next is a period later.
fn is_over(next: &mut Instant, now: Instant, period: Duration) -> bool {
    let is_over = now >= *next;
    if is_over {
        *next = now + period;
    }
    is_over
}

/// What of the snapshot concerns the node. Services do only where nobody else names their ranges.
fn of_node(snapshot: &Snapshot, published: &Published) -> Snapshot {
    let mut seen = Snapshot {
        nodes: snapshot.nodes.clone(),
        relayed: snapshot.relayed,
        complete: snapshot.complete.clone(),
        refused: snapshot.refused.clone(),
        ..Snapshot::default()
    };
    if *published == Published::Absent {
        seen.services.clone_from(&snapshot.services);
    }
    seen
}

impl Subject for ThisNode {
    fn name(&self) -> &'static str {
        "node"
    }

    fn sync(&mut self, turn: &Turn<'_>, here: &mut Here) {
        let now = Instant::now();
        let name = self.shared.config.node_name.as_str();
        self.own = turn.snapshot.nodes.get(name).cloned();
        if turn.relisted || !turn.dirty.nodes.is_empty() {
            let encrypts = self.shared.configuration().encryption.is_on();
            self.conflicts = conflicts(turn.snapshot, encrypts);
        }
        self.take_found(here);
        self.look_at_claim(turn);
        if self.is_due(turn, here, now) {
            self.next = now + PERIOD;
            self.relayed = turn.snapshot.relayed > 0;
            self.look = self.look_at(turn.snapshot);
            let waits = self.look.as_ref();
            if waits.is_some_and(|look| self.ranges.awaits(&look.config)) {
                self.next = now + BEAT;
            }
        }
    }

    fn act(&mut self, here: &mut Here) {
        if !self.worker.is_busy()
            && let Some(job) = self.job(here)
        {
            self.worker.give(job);
        }
        // Those that a former agent left count before the first look.
        self.tell_here(here);
    }

    fn look(&mut self) {
        self.next = Instant::now();
        self.next_mend = self.next;
        self.asked = Asked::Waits;
    }

    fn is_looking(&self) -> bool {
        self.asked != Asked::Nobody
    }

    fn due(&self) -> Instant {
        if self.worker.is_busy() {
            return after(None);
        }
        self.next.min(self.next_beat).min(self.next_mend)
    }

    /// Each look compares.
    fn verify(&mut self, _: &Store, _: usize, _: Depth) -> Verified {
        Verified::Done(0)
    }

    /// What fails beside the maps is told, but does not make the node unhealthy: traffic goes on as it was.
    fn broken(&self) -> Option<&str> {
        self.found.refused.as_deref()
    }

    fn waits_for_room(&self, room: &mut Room) {
        for (map, needed) in &self.found.room {
            *room.entry(map.clone()).or_default() += needed;
        }
    }

    fn resized(&mut self, maps: &BTreeMap<String, u32>) {
        let waits = &self.found.room;
        if waits.keys().any(|map| maps.contains_key(map)) {
            self.next = Instant::now();
        }
    }

    fn status(&self, status: &mut Status) {
        self.found.status(status, &self.shared);
        status.way_notes.extend(self.conflicts.values().cloned());
        status.pod_ranges = self.claims.status(self.shared.config.ipam);
    }

    fn notices(&self) -> Vec<Notice> {
        let node = &self.shared.config.node_name;
        let mut notices = self.claims.notices(node);
        notices.extend(self.conflicts.iter().map(|(name, note)| Notice {
            kind: Kind::Node,
            object: ObjectName::new("", name),
            reason: EventReason::NodeConflict,
            note: note.clone(),
        }));
        notices.extend(self.found.rival.clone().map(|note| Notice {
            kind: Kind::Node,
            object: ObjectName::new("", node),
            reason: EventReason::AnotherPluginFirst,
            note,
        }));
        notices
    }

    fn names(&self, _: &mut Names) {}

    fn diff(&self, _: &Snapshot) -> anyhow::Result<Vec<String>> {
        Ok(Vec::new())
    }
}
