//! The node's part of a sync: addresses, routes, the programs of links, the plugin's installation.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    host_device::HostDevice,
    last_known,
    links::LinkPrograms,
    node_condition::NodeCondition,
    readiness::{Guard, Readiness},
    service_ranges::ServiceRanges,
};
use crate::{
    api::{
        Shared,
        listen::ListenOn,
        messages::{CniStatus, HostStatus, LinksStatus, SyncStatus},
    },
    config::Conntrack,
    datapath::Datapath,
    model::{Kind, Snapshot, Wire},
    node::{
        NodeKeeper, conflist,
        facts::Facts,
        host_device::Leads,
        monitor::Monitor,
        routes::{self, OURS, RouteTable, Routes, TO_NODES},
        wires,
    },
};

/// How often the machine is looked at, besides whenever there is news of it: not all that somebody may break is told.
pub(crate) const PERIOD: Duration = Duration::from_secs(5);
/// How often the plugin is shown that the agent lives.
const BEAT: Duration = Duration::from_secs(2);

/// Everything about the node.
pub struct Node {
    shared: Arc<Shared>,
    keeper: NodeKeeper,
    monitor: Monitor,
    links: LinkPrograms,
    host: HostDevice,
    errors: Vec<String>,
    installed: bool,
    next: Instant,
    next_beat: Instant,
    next_mend: Instant,
    opened: Option<Guard>,
    condition: NodeCondition,
    health_checks: ListenOn,
    mended: Vec<String>,
    routing: Option<Routing>,
    /// What is in force.
    conntrack: Conntrack,
}

/// Routes that a sync wants. They are set after it: whoever waits for the kernel must hold no snapshot.
struct Routing {
    to_nodes: Option<Routes>,
    leads: Option<Leads>,
    facts: Facts,
    /// There are no other routes to nodes.
    all_routes: bool,
    /// All ranges of Services are known.
    complete: bool,
}

impl Node {
    /// Takes up the node as it is.
    pub fn open(
        shared: &Arc<Shared>,
        readiness: &Readiness,
        (condition, ranges): (&NodeCondition, &ServiceRanges),
    ) -> anyhow::Result<Self> {
        let install = shared.config.cni.install;
        Ok(Self {
            shared: Arc::clone(shared),
            keeper: NodeKeeper::new(&shared.config)?,
            monitor: Monitor::begin(&OURS, shared.watchdog.register("news of links")),
            links: LinkPrograms::default(),
            host: HostDevice::new(ranges),
            errors: Vec::new(),
            installed: false,
            next: Instant::now(),
            next_beat: Instant::now(),
            next_mend: Instant::now(),
            opened: install.then(|| readiness.register("installation of the CNI plugin")),
            condition: condition.clone(),
            health_checks: ListenOn::unknown(&shared.config.node),
            mended: Vec::new(),
            routing: None,
            conntrack: shared.conntrack(),
        })
    }

    /// Returns when the machine has changed; [`Self::tick`] will then look at it at once. May be dropped at any time.
    pub async fn changed(&mut self) {
        self.monitor.changed().await;
        self.next = Instant::now();
        self.next_mend = self.next;
    }

    /// Looks at the machine if it is time to, and shows the plugin that the agent lives.
    pub fn tick(&mut self, snapshot: &Snapshot, datapath: &mut Datapath, ready: bool) {
        let now = Instant::now();
        if now >= self.next_beat {
            self.next_beat = now + BEAT;
            self.keeper.beat();
        }
        if now >= self.next || self.conntrack != self.shared.conntrack() {
            self.sync(snapshot, datapath, ready);
        }
    }

    /// Puts back what somebody took from the host's side of pods' interfaces, if it is time to look.
    pub fn mend(&mut self, wires: impl FnOnce() -> Vec<Wire>) {
        let now = Instant::now();
        if now < self.next_mend {
            return;
        }
        self.next_mend = now + PERIOD;
        let failed = match Facts::read() {
            Ok(facts) => wires::mend(&wires(), &facts),
            Err(error) => vec![format!("read the machine's interfaces: {error}")],
        };
        for error in failed.iter().filter(|e| !self.mended.contains(e)) {
            tracing::warn!(error, "pods' interfaces not in step");
        }
        self.mended = failed;
    }

    /// Brings the node in step. Before the Nodes are listed it stays as a former agent left it: with no
    /// address of its own known, traffic that needs one would break.
    pub fn sync(&mut self, snapshot: &Snapshot, datapath: &mut Datapath, ready: bool) {
        if !snapshot.nodes_known() {
            return;
        }
        self.next = Instant::now() + PERIOD;
        let shared = Arc::clone(&self.shared);
        let whole = shared.configuration();
        self.conntrack = whole.conntrack;
        let maps = datapath.maps();
        let config = match last_known::fill_in(&whole, snapshot, maps) {
            Ok(config) => config,
            Err(error) => {
                self.errors = vec![format!("{error:#}")];
                return;
            }
        };
        let config = config.as_ref();
        let published = self.host.published(config);
        if self.host.waits(config) {
            self.next = Instant::now() + BEAT;
        }
        let mut report = self.keeper.sync(config, snapshot, &published, maps, ready);
        self.errors = std::mem::take(&mut report.errors);
        if let Some(links) = &report.links {
            let notes = std::mem::take(&mut report.notes);
            let failed = self.links.bring(links, &report.facts, notes, datapath);
            self.errors.extend(failed);
        }
        match datapath.mend_sockets() {
            Ok(true) => tracing::info!("socket programs attached again"),
            Ok(false) => {}
            Err(error) => self.errors.push(error.to_string()),
        }
        let leads = self.host.attach(&mut report, datapath);
        let leads = leads.unwrap_or_else(|error| {
            self.errors.push(error);
            None
        });
        self.routing = Some(Routing {
            to_nodes: report.routes,
            leads,
            facts: report.facts,
            all_routes: last_known::knows_ways(config, snapshot),
            complete: snapshot.complete.has(&[Kind::Node, Kind::Service]),
        });
        if let Some(on) = report.health_checks {
            self.health_checks = on;
        }
        let here = snapshot.nodes.get(config.node_name.as_str());
        if report.ready {
            self.installed = config.cni.install;
            self.opened = None;
            if here.is_some_and(|node| !node.network_available) {
                self.condition.set_available(&config.node_name);
            }
        }
        shared
            .health
            .set_eligible(!here.is_some_and(|node| node.leaving));
    }

    /// Sets the routes that the last sync wanted, if that is not done yet.
    pub fn route(&mut self) {
        let Some(routing) = self.routing.take() else {
            return;
        };
        match RouteTable::open() {
            Ok(mut table) => self.set_routes(&mut table, &routing),
            Err(error) => self.errors.push(format!("read routes: {error}")),
        }
        self.keeper.log(&self.errors);
    }

    fn set_routes(&mut self, table: &mut RouteTable, routing: &Routing) {
        if let Some(routes) = &routing.to_nodes {
            let errors = routes::bring(table, TO_NODES, routes, routing.all_routes);
            self.errors.extend(errors);
        }
        if let Some(leads) = &routing.leads {
            let (facts, complete) = (&routing.facts, routing.complete);
            let errors = self.host.lead(table, leads, facts, complete);
            self.errors.extend(errors);
        }
    }

    /// Where health check node ports are served.
    pub fn health_checks(&self) -> ListenOn {
        self.health_checks.clone()
    }

    /// The links that carry node traffic.
    pub fn links(&self) -> LinksStatus {
        self.links.status()
    }

    /// Services' way for the host's own packets.
    pub fn host(&self) -> HostStatus {
        self.host.status()
    }

    /// Fills in the figures.
    pub fn status(&self, sync: &mut SyncStatus, cni: &mut CniStatus) {
        let errors = self.errors.iter().chain(&self.mended);
        sync.errors
            .extend(errors.map(|error| format!("node: {error}")));
        let config = &self.shared.config.cni;
        cni.enabled = config.install;
        let path = config.conf_dir.join(&config.conf_file);
        cni.conflist = self.installed.then(|| path.display().to_string());
        cni.problems.clear();
        if config.install
            && let Some(rival) = conflist::rival(&config.conf_dir, &config.conf_file)
        {
            let path = config.conf_dir.join(rival);
            cni.problems.push(format!(
                "{} comes before ours: the runtime calls another plugin",
                path.display()
            ));
        }
    }
}
