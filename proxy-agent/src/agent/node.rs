//! The node's part of a sync: addresses, routes, the uplink's programs, the plugin's installation.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    host_device::{HostDevice, is_there},
    last_known,
    node_condition::NodeCondition,
    readiness::{Guard, Readiness},
    service_ranges::ServiceRanges,
};
use crate::{
    api::{
        Shared,
        health_check_node_port::ServedOn,
        messages::{CniStatus, HostStatus, SyncStatus},
    },
    datapath::Datapath,
    model::{Kind, Snapshot},
    node::{
        NodeKeeper, conflist,
        facts::Facts,
        host_device::Leads,
        routes::{self, RouteTable, Routes, TO_NODES},
    },
};

/// How often the machine is looked at: addresses and links come and go without a word to us.
const PERIOD: Duration = Duration::from_secs(10);
/// How often the plugin is shown that the agent lives.
const BEAT: Duration = Duration::from_secs(2);

/// Everything about the node.
pub struct Node {
    shared: Arc<Shared>,
    keeper: NodeKeeper,
    uplink: Option<u32>,
    host: HostDevice,
    errors: Vec<String>,
    installed: bool,
    next: Instant,
    next_beat: Instant,
    opened: Option<Guard>,
    condition: NodeCondition,
    serving: Vec<IpAddr>,
    routing: Option<Routing>,
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
            uplink: None,
            host: HostDevice::new(ranges),
            errors: Vec::new(),
            installed: false,
            next: Instant::now(),
            next_beat: Instant::now(),
            opened: install.then(|| readiness.register("installation of the CNI plugin")),
            condition: condition.clone(),
            serving: Vec::new(),
            routing: None,
        })
    }

    /// Looks at the machine if it is time to, and shows the plugin that the agent lives.
    pub fn tick(&mut self, snapshot: &Snapshot, datapath: &mut Datapath, ready: bool) {
        let now = Instant::now();
        if now >= self.next_beat {
            self.next_beat = now + BEAT;
            self.keeper.beat();
        }
        if now >= self.next {
            self.sync(snapshot, datapath, ready);
        }
    }

    /// Brings the node in step. Before the Nodes are listed it stays as a former agent left it: with no
    /// address of its own known, traffic that needs one would break.
    pub fn sync(&mut self, snapshot: &Snapshot, datapath: &mut Datapath, ready: bool) {
        if !snapshot.nodes_known() {
            return;
        }
        self.next = Instant::now() + PERIOD;
        let shared = Arc::clone(&self.shared);
        let maps = datapath.maps();
        let config = match last_known::fill_in(&shared.config, snapshot, maps) {
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
        let all_routes = report.uplink.is_some() && last_known::knows_ways(config, snapshot);
        if let Some(uplink) = report.uplink {
            self.attach(uplink, datapath);
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
            all_routes,
            complete: snapshot.complete.has(&[Kind::Node, Kind::Service]),
        });
        self.serving = report.node_port_addresses;
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
    pub async fn route(&mut self) {
        let Some(routing) = self.routing.take() else {
            return;
        };
        match RouteTable::open() {
            Ok(table) => self.set_routes(&table, &routing).await,
            Err(error) => self.errors.push(format!("read routes: {error}")),
        }
        self.keeper.log(&self.errors);
    }

    async fn set_routes(&mut self, table: &RouteTable, routing: &Routing) {
        if let Some(routes) = &routing.to_nodes {
            let errors = routes::bring(table, TO_NODES, routes, routing.all_routes).await;
            self.errors.extend(errors);
        }
        if let Some(leads) = &routing.leads {
            let (facts, complete) = (&routing.facts, routing.complete);
            let errors = self.host.lead(table, leads, facts, complete).await;
            self.errors.extend(errors);
        }
    }

    /// Where health check node ports are served: nowhere while the node's addresses in the ranges are not
    /// known, or if there are none.
    pub fn health_checks_served_on(&self) -> ServedOn {
        let ranges = &self.shared.config.node.node_port_addresses;
        if ranges.is_empty() || ranges.iter().any(|range| range.prefix() == 0) {
            return ServedOn::All;
        }
        ServedOn::Addresses(self.serving.clone())
    }

    /// Puts the programs on the uplink, and again if someone took them off.
    fn attach(&mut self, uplink: u32, datapath: &mut Datapath) {
        if self.uplink == Some(uplink) && is_there(datapath, uplink, &Datapath::UPLINK) {
            return;
        }
        match datapath.attach_uplink(uplink) {
            Ok(mode) => {
                tracing::info!(uplink, %mode, "programs attached to the uplink");
                self.uplink = Some(uplink);
            }
            Err(error) => self.errors.push(error.to_string()),
        }
    }

    /// Services' way for the host's own packets.
    pub fn host(&self) -> HostStatus {
        self.host.status()
    }

    /// Fills in the figures.
    pub fn status(&self, sync: &mut SyncStatus, cni: &mut CniStatus) {
        sync.errors
            .extend(self.errors.iter().map(|error| format!("node: {error}")));
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
