//! The main loop: one thread that owns all state and does all writes, fed by changes, questions and timers.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    answers, cni_metrics, diff, due,
    live_reader::LiveReader,
    named_ids::NamedIds,
    node::Node,
    node_condition::NodeCondition,
    own_addresses,
    policies::Policies,
    readiness::{Guard, Readiness},
    service_ranges::ServiceRanges,
    services::Services,
    status::Figures,
};
use crate::{
    api::{
        Shared,
        health::FAMILIES,
        messages::SyncStatus,
        metrics::{IpFamily, KindName, Metrics},
        socket::Question,
    },
    datapath::{Datapath, DatapathConfig, Maps, Table as _, TcMode, Words as _},
    model::{Dirty, Kind, ObjectName},
    observe::{Change, Changes, Store},
    pod::{Event, Missing, PodTables, Pods, PodsConfig},
};

/// How often the status is published.
const TICK: Duration = Duration::from_secs(1);

/// Everything that only the main loop touches.
pub struct MainLoop {
    shared: Arc<Shared>,
    store: Arc<Store>,
    datapath: Datapath,
    services: Services,
    policies: Policies,
    pods: Pods,
    node: Node,
    changes: Changes,
    figures: Figures,
    /// When Services are to be looked at again, though nothing changes.
    services_due: Instant,
    /// When policies are.
    policies_due: Instant,
    lists: Option<Guard>,
    listed: Option<Instant>,
    first_sync: Option<Guard>,
}

impl MainLoop {
    /// Opens the datapath and restores what is pinned.
    pub fn open(
        shared: &Arc<Shared>,
        store: &Arc<Store>,
        readiness: &Readiness,
        reader: &LiveReader,
        api: (&NodeCondition, &ServiceRanges),
    ) -> anyhow::Result<Self> {
        let config = &shared.config;
        let mut datapath = Datapath::open(&DatapathConfig {
            bpffs: config.bpffs.clone(),
            instance: config.instance.clone(),
            cgroup_root: config.cgroup_root.clone(),
            capacities: config.maps.capacities(),
            tc: config.tc_attach.preference(),
            log_drops: config.logging.drops,
        })?;
        if let Some(log) = datapath.take_drop_log() {
            tokio::spawn(log.run());
        }
        let named = NamedIds::read(datapath.maps()).context("read which ids are in use")?;
        let mut services = Services::open(shared, datapath.maps())?;
        services.stay_above(&named);
        let mut policies = Policies::open(shared, datapath.maps())?;
        policies.deny_unused(&named.endpoints);
        datapath.attach_sockets()?;
        let pods = open_pods(shared, &mut datapath, reader, named.endpoints)?;
        policies.deny_unused(&ids(&pods));
        services.set_host_ports(pods.host_ports());
        Ok(Self {
            shared: Arc::clone(shared),
            store: Arc::clone(store),
            datapath,
            services,
            policies,
            pods,
            node: Node::open(shared, readiness, api)?,
            changes: Changes::new(Arc::clone(store), config.sync.min_period.0),
            figures: Figures::new(readiness.clone()),
            services_due: due::after(None),
            policies_due: due::after(None),
            lists: Some(readiness.register("lists of all kinds")),
            listed: None,
            first_sync: Some(readiness.register("first sync")),
        })
    }

    /// The maps.
    pub fn maps(&self) -> &Maps {
        self.datapath.maps()
    }

    /// Runs for ever.
    pub async fn run(&mut self, mut questions: mpsc::Receiver<Question>) {
        let period = self.shared.config.sync.full_period.0;
        let mut full = interval(period);
        full.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                change = self.changes.next() => self.change(&change).await,
                event = self.pods.next() => self.pod(event),
                () = sleep_until(self.services_due.min(self.policies_due)) => self.sync(&Dirty::default()),
                Some(question) = questions.recv() => self.answer(question),
                _ = full.tick() => self.full(),
                _ = tick.tick() => self.tick().await,
            }
        }
    }

    async fn change(&mut self, change: &Change) {
        self.figures.last_event = Some(Instant::now());
        if change.complete.has(&Kind::ALL) {
            self.lists = None;
            self.listed.get_or_insert_with(Instant::now);
        }
        self.queued(&change.dirty);
        self.sync(&change.dirty);
        self.node.route().await;
        self.listen().await;
        self.publish();
    }

    /// Tells health and metrics that changes wait. Before the lists are complete nothing is late.
    fn queued(&self, dirty: &Dirty) {
        let metrics = &self.shared.metrics;
        for stamp in dirty.services.values() {
            metrics.service_changes.inc_by(stamp.services.into());
            metrics.endpoint_changes.inc_by(stamp.slices.into());
        }
        let (services, endpoints) = self.services.waiting();
        let stamps = || dirty.services.values();
        let services = services + stamps().filter(|s| s.services > 0).count();
        let endpoints = endpoints + stamps().filter(|s| s.slices > 0).count();
        metrics.service_changes_pending.set(count(services));
        metrics.endpoint_changes_pending.set(count(endpoints));
        if self.lists.is_none() {
            self.shared.health.queued();
            each_family(|labels| {
                metrics
                    .last_queued
                    .get_or_create(labels)
                    .set(unix_seconds());
            });
        }
    }

    /// Brings everything in step with what is dirty.
    fn sync(&mut self, dirty: &Dirty) {
        let began = Instant::now();
        let snapshot = self.store.read();
        let report = self.services.sync(&snapshot, dirty);
        self.services_due = due::after(report.again_after);
        let services_only = !dirty.is_empty() && dirty.services.len() == dirty.len();
        if !services_only || self.policies_due <= Instant::now() {
            self.policies_due = self.policies.sync(&snapshot, &self.pods.endpoints());
        }
        drop(snapshot);
        self.settle();
        if !report.waiting.is_empty() {
            return;
        }
        let first = self.lists.is_none() && self.first_sync.take().is_some();
        if first {
            // It began from what the maps hold, so it was a full comparison.
            self.figures.full_done(began, 0);
            let listed = self.listed.unwrap_or(began);
            let metrics = &self.shared.metrics;
            metrics.first_sync.set(listed.elapsed().as_secs_f64());
            tracing::info!(
                services = report.synced,
                writes = report.writes,
                took = ?began.elapsed(),
                "first sync done"
            );
        }
        if first || !dirty.nodes.is_empty() {
            let ready = self.first_sync.is_none();
            self.node
                .sync(&self.store.read(), &mut self.datapath, ready);
            self.own_addresses();
        }
        self.applied(began, first);
    }

    /// Something about this node's pods: the plugin asks, or a look at what waits is due.
    fn pod(&mut self, event: Event) {
        let snapshot = self.store.read();
        let known = |pod: &ObjectName, uid: &str| {
            let pod = snapshot.pods.get(pod);
            pod.filter(|pod| pod.is(uid)).cloned()
        };
        let (mut event, mut changed) = (Some(event), false);
        while let Some(one) = event {
            self.policies.deny_unused(&ids(&self.pods));
            let one = cni_metrics::count(&self.shared, one);
            changed |= self.pods.take(one, &mut self.datapath, known);
            event = self.pods.try_next();
        }
        changed |= self.pods.attach(&mut self.datapath);
        if changed {
            self.policies_due = self.policies.sync(&snapshot, &self.pods.endpoints());
        }
        drop(snapshot);
        if changed {
            self.host_ports();
        }
        self.settle();
    }

    /// Brings the `hostPort`s of this node's pods in step. Before the first sync it is that which does it.
    fn host_ports(&mut self) {
        let changed = self.services.set_host_ports(self.pods.host_ports());
        if !changed || self.first_sync.is_some() {
            return;
        }
        let report = self.services.sync(&self.store.read(), &Dirty::default());
        self.services_due = due::after(report.again_after);
    }

    /// Answers the ADDs of pods that may start.
    fn settle(&mut self) {
        let (policies, services) = (&self.policies, &self.services);
        self.pods.settle(|endpoint, pod| {
            if !policies.ready(endpoint) {
                return Err(Missing::Policy);
            }
            services
                .host_ports_in_force(pod)
                .map_err(Missing::HostPorts)
        });
    }

    fn full(&mut self) {
        if self.first_sync.is_some() {
            return;
        }
        let began = Instant::now();
        let snapshot = self.store.read();
        let result = self.services.verify(&snapshot);
        drop(snapshot);
        let (policies, due) = self.policies.verify();
        self.policies_due = self.policies_due.min(due);
        match result {
            Ok(report) => {
                let drift = report.drift + policies;
                self.services_due = due::after(report.again_after);
                self.figures.full_done(began, drift as u64);
                self.shared.metrics.drift_entries.set(count(drift));
                self.applied(began, true);
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "full comparison failed"),
        }
    }

    /// Tells health and metrics that a sync came to its end, and what it could not apply. A Service that was
    /// refused waits for another change or for room; that makes no node unhealthy.
    fn applied(&mut self, began: Instant, full: bool) {
        let metrics = &self.shared.metrics;
        let (services, endpoints) = self.services.waiting();
        metrics.service_changes_pending.set(count(services));
        metrics.endpoint_changes_pending.set(count(endpoints));
        let took = began.elapsed().as_secs_f64();
        let kind = if full {
            &metrics.sync_full
        } else {
            &metrics.sync_partial
        };
        each_family(|labels| {
            metrics.sync.get_or_create(labels).observe(took);
            kind.get_or_create(labels).observe(took);
            metrics.last_sync.get_or_create(labels).set(unix_seconds());
        });
        (0..FAMILIES.len()).for_each(|family| self.shared.health.applied(family));
    }

    /// Serves health check node ports.
    async fn listen(&mut self) {
        let addresses = self.node.health_check_addresses();
        self.services.listen(addresses).await;
    }

    async fn tick(&mut self) {
        let ready = self.first_sync.is_none();
        self.node
            .tick(&self.store.read(), &mut self.datapath, ready);
        self.node.route().await;
        self.own_addresses();
        self.listen().await;
        for (kind, restarts) in self.store.restarts() {
            let labels = KindName::new(kind.to_string());
            let counter = self.shared.metrics.watch_restarts.get_or_create(&labels);
            Metrics::raise(&counter, restarts);
        }
        self.publish();
    }

    /// Tells policy which addresses are the node's own, beside those of its Node object.
    fn own_addresses(&mut self) {
        match own_addresses::read(self.datapath.maps()) {
            Ok(addresses) => {
                if self.policies.set_local_addresses(addresses) {
                    self.policies_due = Instant::now();
                }
            }
            Err(error) => tracing::warn!(%error, "the node's own addresses not read"),
        }
    }

    fn publish(&mut self) {
        let mut sync = SyncStatus::default();
        self.services.status(&mut sync);
        self.policies.status(&mut sync);
        self.node.status(&mut sync, &mut self.figures.cni);
        self.figures.set_sync(sync);
        self.figures.host = self.node.host();
        self.figures.cni.pods = self.pods.names().count() as u64;
        self.figures.cni.tcx = self.pods.attached(TcMode::Tcx) as u64;
        self.figures.cni.clsact = self.pods.attached(TcMode::Clsact) as u64;
        self.shared
            .publish(self.figures.status(&self.shared, &self.store));
    }

    /// What a full comparison would change.
    fn diff(&self) -> Vec<String> {
        let (node, wanted) = (&self.shared.config.node_name, self.services.host_ports());
        let services = diff::services(&self.store.read(), wanted, self.datapath.maps(), node);
        [services, self.policies.diff()]
            .into_iter()
            .flat_map(|lines| lines.unwrap_or_else(|error| vec![format!("! {error:#}")]))
            .collect()
    }

    fn answer(&self, question: Question) {
        // Whoever asked may have gone away.
        match question {
            Question::Names(reply) => {
                let (services, policies) = (&self.services, &self.policies);
                let names = answers::names(&self.store.read(), services, policies, &self.pods);
                drop(reply.send(names));
            }
            Question::Diff(reply) => {
                drop(reply.send(self.diff()));
            }
        }
    }
}

fn open_pods(
    shared: &Shared,
    datapath: &mut Datapath,
    reader: &LiveReader,
    resting: BTreeSet<u32>,
) -> anyhow::Result<Pods> {
    let maps = datapath.maps();
    let config = PodsConfig {
        run_dir: shared.config.run_dir.clone(),
        limit: maps.endpoints.capacity().min(maps.policy_words.len()),
        resting,
        fetch: shared.config.manifests.is_none().then(|| reader.fetch()),
    };
    let tables = PodTables::from(maps);
    let pods = Pods::open(config, tables, datapath)?;
    pods.serve()?;
    Ok(pods)
}

fn ids(pods: &Pods) -> BTreeSet<u32> {
    pods.names().map(|(id, _, _)| id).collect()
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn each_family(mut set: impl FnMut(&IpFamily)) {
    for family in FAMILIES {
        set(&IpFamily::new(family));
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
