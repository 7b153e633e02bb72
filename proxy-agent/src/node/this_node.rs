//! The node as the main loop knows it: addresses, routes, the programs of links, the plugin's installation.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    NodeKeeper, addresses,
    claims::{Claims, decide::Settings},
    condition::{Network, NodeCondition, Statement},
    conflist,
    encryption::{Encrypted, Ready, publish::KeyPublisher},
    facts::Facts,
    host_device::Published,
    last_known,
    monitor::Monitor,
    platform::Misplaced,
    programs::NodePrograms,
    routes::OURS,
    routing::{RoutesSet, Routing},
    service_ranges::ServiceRanges,
    ways::Between,
    wires,
};
use crate::{
    api::{
        Shared,
        listen::ListenOn,
        messages::{EncryptionStatus, MasqueradeStatus, Names, Status, WayStatus},
        metrics::Mode,
        readiness::{Guard, Readiness},
    },
    config::{Conntrack, Ipam, MasqueradeSettings},
    datapath::{Datapath, Maps},
    model::{EventReason, Kind, NetworkUnavailable, Node, Notice, ObjectName, Snapshot, Wire},
    observe::Store,
    subject::{Depth, Here, Repairs, Room, Subject, Turn, Verified},
};

/// How often the machine is looked at, besides whenever there is news of it: not all that somebody may break is told.
pub const PERIOD: Duration = Duration::from_secs(5);
/// How often the plugin is shown that the agent lives.
const BEAT: Duration = Duration::from_secs(2);

/// Everything about the node.
pub struct ThisNode {
    shared: Arc<Shared>,
    keeper: NodeKeeper,
    /// Those in the maps that reach pods.
    addresses: Vec<IpAddr>,
    /// Services are in force.
    serving: bool,
    monitor: Monitor,
    programs: NodePrograms,
    encrypted: Encrypted,
    key: KeyPublisher,
    ways: Vec<WayStatus>,
    ranges: ServiceRanges,
    claims: Claims,
    /// By what ranges are claimed.
    settings: Settings,
    errors: Vec<String>,
    installed: bool,
    next: Instant,
    next_beat: Instant,
    next_mend: Instant,
    opened: Option<Guard>,
    condition: NodeCondition,
    statement: Statement,
    listen_on: ListenOn,
    rival: Option<String>,
    /// The manifests are for another platform than this node's.
    misplaced: Misplaced,
    mended: Vec<String>,
    mender: wires::Mender,
    repairs: Repairs,
    routes: RoutesSet,
    routing: Option<Routing>,
    /// What is in force.
    conntrack: Conntrack,
    /// What is in force.
    masquerade: MasqueradeSettings,
    /// What is in force.
    between: Between,
    masquerades: MasqueradeStatus,
    /// A Service asks for packets to be relayed.
    relayed: bool,
    /// What the next look at the machine goes by.
    seen: Option<(Snapshot, Published)>,
}

impl ThisNode {
    /// Takes up the node as it is.
    pub fn open(
        shared: &Arc<Shared>,
        maps: &Maps,
        readiness: &Readiness,
        (condition, ranges, claims, key): (&NodeCondition, &ServiceRanges, &Claims, &KeyPublisher),
    ) -> anyhow::Result<Self> {
        let install = shared.config.cni.install;
        let keeper = NodeKeeper::new(&shared.config, maps)?;
        Ok(Self {
            shared: Arc::clone(shared),
            addresses: addresses::in_force(keeper.maps()),
            keeper,
            serving: false,
            monitor: Monitor::begin(&OURS, shared.watchdog.register("news of links")),
            programs: NodePrograms::new(ranges),
            encrypted: Encrypted::default(),
            key: key.clone(),
            ways: Vec::new(),
            ranges: ranges.clone(),
            claims: claims.clone(),
            settings: Settings::of(&shared.configuration()),
            errors: Vec::new(),
            installed: false,
            next: Instant::now(),
            next_beat: Instant::now(),
            next_mend: Instant::now(),
            opened: install.then(|| readiness.register("installation of the CNI plugin")),
            condition: condition.clone(),
            statement: Statement::default(),
            listen_on: ListenOn::unknown(&shared.config.node),
            rival: None,
            misplaced: Misplaced::default(),
            mended: Vec::new(),
            mender: wires::Mender::default(),
            repairs: Repairs::default(),
            routes: RoutesSet::default(),
            routing: None,
            conntrack: shared.conntrack(),
            masquerade: shared.configuration().masquerade.clone(),
            between: Between::of(&shared.configuration()),
            masquerades: MasqueradeStatus::default(),
            relayed: false,
            seen: None,
        })
    }

    /// Returns when the machine has changed, or the ranges of Services; the next sync looks at it. May be dropped at any time.
    pub async fn changed(&mut self) {
        tokio::select! {
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

    /// What of the snapshot concerns the node. Services do only where nobody else names their ranges.
    fn look_at(&self, snapshot: &Snapshot) -> (Snapshot, Published) {
        let mut seen = Snapshot {
            nodes: snapshot.nodes.clone(),
            relayed: snapshot.relayed,
            complete: snapshot.complete.clone(),
            refused: snapshot.refused.clone(),
            ..Snapshot::default()
        };
        let published = self.programs.host.published(&self.shared.config);
        if published == Published::Absent {
            seen.services.clone_from(&snapshot.services);
        }
        (seen, published)
    }

    /// Shows the plugin that the agent lives.
    fn beat(&mut self, now: Instant) {
        if now >= self.next_beat {
            self.next_beat = now + BEAT;
            self.keeper.opening().beat();
        }
    }

    /// Puts back what somebody took from the host's side of pods' interfaces, if it is time to look.
    fn mend(&mut self, wires: &[Wire], now: Instant) {
        if now < self.next_mend {
            return;
        }
        self.next_mend = now + PERIOD;
        let failed = match Facts::read() {
            Ok(facts) => self.mender.mend(wires, &facts, &mut self.repairs),
            Err(error) => vec![format!("read the machine's interfaces: {error}")],
        };
        for error in failed.iter().filter(|e| !self.mended.contains(e)) {
            tracing::warn!(error, "pods' interfaces not in step");
        }
        self.mended = failed;
    }

    /// Brings the node in step. Before the Nodes are listed it stays as a former agent left it: with no
    /// address of its own known, traffic that needs one would break.
    fn bring(&mut self, snapshot: &Snapshot, published: &Published, here: &mut Here) {
        let datapath = &mut here.datapath;
        if !snapshot.nodes_known() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let whole = shared.configuration();
        self.conntrack = whole.conntrack;
        self.masquerade.clone_from(&whole.masquerade);
        self.between = Between::of(&whole);
        let maps = self.keeper.maps();
        let config = match last_known::fill_in(&whole, snapshot, maps, &self.claims) {
            Ok(config) => config,
            Err(error) => {
                self.errors = vec![format!("{error:#}")];
                return;
            }
        };
        let config = config.as_ref();
        if self.programs.host.waits(config) {
            self.next = Instant::now() + BEAT;
        }
        let closed = match config.ipam {
            Ipam::Node => None,
            Ipam::Cluster => self.claims.closed(),
        };
        let seen = (snapshot, published);
        let gate = (closed, self.serving);
        let repairs = &mut self.repairs;
        let mut report = self.keeper.sync(config, seen, gate, repairs);
        self.errors = std::mem::take(&mut report.errors);
        self.masquerades = report.masquerades();
        let failed = self.programs.bring(&mut report, config, datapath, repairs);
        self.errors.extend(failed);
        for (mode, links) in self.programs.links.modes() {
            let series = shared.metrics.xdp_links.get_or_create(&Mode::new(mode));
            series.set(links);
        }
        self.publish_key(report.encrypts, snapshot);
        self.encrypted = std::mem::take(&mut report.encrypted);
        self.ways = report.ways();
        self.routing = Some(Routing {
            to_nodes: report.routes,
            tunnel: report.tunnel,
            encrypts: config.encryption.is_on(),
            leads: report.leads,
            facts: report.facts,
            all_routes: last_known::knows_ways(config, snapshot),
            complete: snapshot.complete.has(&[Kind::Node, Kind::Service]),
        });
        if let Some(on) = report.health_checks {
            self.listen_on = on;
        }
        if let Some(addresses) = report.addresses {
            self.addresses = addresses;
        }
        let cni = &config.cni;
        self.rival = conflist::rival(&cni.conf_dir, &cni.conf_file).filter(|_| cni.install);
        let here = snapshot.nodes.get(config.node_name.as_str());
        self.misplaced.look(here.map(AsRef::as_ref), config);
        if report.ready {
            self.installed = config.cni.install;
            self.opened = None;
        }
        if let Some(node) = here.filter(|node| !node.gone) {
            self.tell_node(node, &self.network(report.ready, report.closed));
        }
        shared
            .health
            .set_eligible(!here.is_some_and(|node| node.leaving));
    }

    /// Sets the routes that the last look wanted, if that is not done yet; then nothing needs the tunnel where it is left.
    fn route(&mut self, datapath: &Datapath) {
        let Some(routing) = self.routing.take() else {
            return;
        };
        let failed = self
            .routes
            .set(&routing, &mut self.programs.host, &mut self.repairs);
        self.errors.extend(failed);
        if let Some(tunnel) = &routing.tunnel {
            let left = self.keeper.leave_tunnel(tunnel, routing.all_routes);
            self.errors.extend(left.err());
            if !tunnel.wanted && routing.all_routes {
                self.errors
                    .extend(self.programs.tunnel.remove(datapath).err());
            }
        }
        if routing.all_routes {
            let left = self.keeper.leave_peers(&self.encrypted);
            self.errors.extend(left.err());
            if !routing.encrypts {
                self.errors
                    .extend(self.programs.encryption.remove(datapath).err());
            }
        }
        if self.errors.is_empty() {
            self.repairs.looked();
        }
        self.repairs.expire();
        self.keeper.log(&self.errors);
    }

    /// Whether new pods get a network.
    fn network(&self, opened: bool, closed: Option<String>) -> Network {
        if let Some(why) = closed {
            return Network::Down(NetworkUnavailable::CLOSED, why);
        }
        match self.rival() {
            _ if !opened => Network::Unknown,
            Some(why) => Network::Down(NetworkUnavailable::RIVAL, why),
            None => Network::Up,
        }
    }

    /// Has the own Node say whether pods get a network, and wait for it no longer once they do.
    fn tell_node(&mut self, node: &Node, network: &Network) {
        let shown = node.network_unavailable.as_ref();
        if let Some(said) = self.statement.of(network, shown, Instant::now()) {
            self.condition.say(node, said);
        }
        if node.awaits_agent && *network == Network::Up {
            self.condition.take_taint(node);
        }
    }

    /// Another plugin that the runtime calls in our place, in words.
    fn rival(&self) -> Option<String> {
        let path = self.shared.config.cni.conf_dir.join(self.rival.as_ref()?);
        let path = path.display();
        Some(format!(
            "{path} comes before ours: the runtime calls another plugin"
        ))
    }

    /// Tells the other nodes this node's key, or that it has none any more.
    fn publish_key(&self, ready: Ready, snapshot: &Snapshot) {
        let name = &self.shared.config.node_name;
        let Some(here) = snapshot.nodes.get(name.as_str()) else {
            return;
        };
        let key = match ready {
            Ready::Able(key) => Some(key),
            // It may be able again in a moment; what others send meanwhile nobody else can read.
            Ready::Unable => return,
            Ready::Off => None,
        };
        if here.wireguard_key != key.map(|key| key.to_string()) {
            self.key.publish(name, key);
        }
    }
}

impl Subject for ThisNode {
    fn name(&self) -> &'static str {
        "node"
    }

    fn sync(&mut self, turn: &Turn<'_>, here: &mut Here) {
        let now = Instant::now();
        self.look_at_claim(turn);
        if self.is_due(turn, here, now) {
            self.next = now + PERIOD;
            self.relayed = turn.snapshot.relayed > 0;
            self.seen = Some(self.look_at(turn.snapshot));
        }
    }

    fn act(&mut self, here: &mut Here) {
        let now = Instant::now();
        self.beat(now);
        if let Some((seen, published)) = self.seen.take() {
            self.bring(&seen, &published, here);
        }
        self.route(&here.datapath);
        self.mend(here.wires.get(), now);
        if *here.addresses.get() != self.addresses {
            here.addresses.tell(self.addresses.clone());
        }
        if *here.listen_on.get() != self.listen_on {
            here.listen_on.tell(self.listen_on.clone());
        }
    }

    fn look(&mut self) {
        self.next = Instant::now();
        self.next_mend = self.next;
    }

    fn due(&self) -> Instant {
        self.next.min(self.next_beat).min(self.next_mend)
    }

    /// Each look compares.
    fn verify(&mut self, _: &Store, _: usize, _: Depth) -> Verified {
        Verified::Done(0)
    }

    /// What fails here is told, but does not make the node unhealthy: traffic goes on as it was.
    fn broken(&self) -> Option<&str> {
        None
    }

    fn waits_for_room(&self, room: &mut Room) {
        for (map, needed) in self.keeper.maps().room() {
            *room.entry(map.clone()).or_default() += needed;
        }
    }

    fn resized(&mut self, maps: &BTreeMap<String, u32>) {
        let waits = self.keeper.maps().room();
        if waits.keys().any(|map| maps.contains_key(map)) {
            self.next = Instant::now();
        }
    }

    fn status(&self, status: &mut Status) {
        let errors = self.errors.iter().chain(&self.mended);
        status
            .sync
            .errors
            .extend(errors.map(|error| format!("node: {error}")));
        self.repairs.status(&mut status.repairs);
        status.host = self.programs.host.status();
        status.links = self.programs.links.status();
        status.masquerade.clone_from(&self.masquerades);
        status.ways.clone_from(&self.ways);
        let settings = self.shared.configuration().encryption;
        status.encryption =
            EncryptionStatus::of(settings, self.keeper.encryption(), &self.encrypted);
        status.pod_ranges = self.claims.status(self.shared.config.ipam);
        let config = &self.shared.config.cni;
        let cni = &mut status.cni;
        cni.enabled = config.install;
        let path = config.conf_dir.join(&config.conf_file);
        cni.conflist = self.installed.then(|| path.display().to_string());
        let devices = self.keeper.opening().devices();
        cni.device = devices.first().to_string();
        cni.problems.extend(devices.problem.clone());
        cni.problems.extend(self.misplaced.why().map(str::to_owned));
        cni.problems.extend(self.rival());
    }

    fn notices(&self) -> Vec<Notice> {
        let node = &self.shared.config.node_name;
        let mut notices = self.claims.notices(node);
        notices.extend(self.rival().map(|note| Notice {
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
