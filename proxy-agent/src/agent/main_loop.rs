//! The main loop: one thread that owns all state and does all writes, fed by changes, questions and timers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{self, Duration},
};

use anyhow::Context as _;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    answers, cni_metrics, due,
    live_reader::LiveReader,
    named_ids::NamedIds,
    node::Node,
    node_condition::NodeCondition,
    own_addresses,
    policies::Policies,
    progress::{self, count},
    readiness::{Guard, Readiness},
    service_ranges::ServiceRanges,
    services::Services,
    status::Figures,
};
use crate::{
    api::{
        Shared,
        messages::SyncStatus,
        metrics::{KindName, Metrics},
        socket::Question,
    },
    datapath::{Datapath, DatapathConfig, Maps, Table as _, TcMode, Words as _},
    model::{Dirty, Kind, ObjectName, Pod, Snapshot},
    observe::{Change, Changes, Store},
    pod::{Event, Missing, PodTables, Pods, PodsConfig},
    service::diff,
    watchdog::{self, Pulse},
};

/// How often the status is published.
const TICK: Duration = Duration::from_secs(1);
/// How long the datapath may take to be opened.
const START_LIMIT: Duration = Duration::from_mins(5);

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
    /// What is still to be listed whole. Each subject waits for its own kinds only.
    lists: BTreeMap<Kind, Guard>,
    first_sync: Option<Guard>,
    pulse: Pulse,
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
        let pulse = shared.watchdog.register_with("main loop", START_LIMIT);
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
        let pods = open_pods(shared, &mut datapath, reader)?;
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
            lists: Kind::ALL
                .map(|kind| (kind, readiness.register(format!("list of {kind}"))))
                .into(),
            first_sync: Some(readiness.register("first sync")),
            pulse,
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
        self.pulse.limit(watchdog::LIMIT);
        loop {
            self.pulse.beat().await;
            tokio::select! {
                change = self.changes.next() => self.change(&change).await,
                event = self.pods.next() => self.pod(event),
                () = self.node.changed() => self.look(),
                () = sleep_until(self.services_due.min(self.policies_due)) => self.sync(&Dirty::default(), None),
                Some(question) = questions.recv() => self.answer(question),
                _ = full.tick() => self.full(),
                _ = tick.tick() => self.tick().await,
            }
        }
    }

    async fn change(&mut self, change: &Change) {
        self.figures.last_event = Some(Instant::now());
        self.lists.retain(|kind, _| !change.complete.has(&[*kind]));
        self.queued(&change.dirty);
        self.sync(&change.dirty, change.since);
        self.node.route();
        self.listen().await;
        self.publish();
        self.changes.done();
    }

    /// Tells metrics that changes wait.
    fn queued(&self, dirty: &Dirty) {
        progress::queued(&self.shared, &self.services, dirty);
        if self.first_sync.is_none() {
            progress::stamp_queued(&self.shared);
        }
    }

    /// Brings everything in step with what is dirty, `since` when.
    fn sync(&mut self, dirty: &Dirty, since: Option<time::Instant>) {
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
        let first = self.first_sync.take().is_some();
        if first {
            // It began from what the maps hold, so it was a full comparison.
            self.figures.full_done(began, 0);
            let metrics = &self.shared.metrics;
            metrics.first_sync.set(began.elapsed().as_secs_f64());
            self.shared.health.begin();
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
        self.judge(since);
        self.applied(began, first);
    }

    fn judge(&self, since: Option<time::Instant>) {
        progress::judge(&self.shared, &self.services, &self.policies, since);
    }

    /// Something about this node's pods: the plugin asks, or a look at what waits is due.
    fn pod(&mut self, event: Event) {
        let snapshot = self.store.read();
        let known = |pod: &ObjectName, uid: &str| of_this_uid(&snapshot, pod, uid);
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
            self.judge(None);
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
        let ready = |endpoint: u32, pod: &str| {
            if !policies.ready(endpoint) {
                return Err(Missing::Policy);
            }
            services
                .host_ports_in_force(pod)
                .map_err(Missing::HostPorts)
        };
        let snapshot = self.store.read();
        self.pods
            .settle(ready, |pod, uid| of_this_uid(&snapshot, pod, uid));
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
                self.judge(None);
                self.applied(began, true);
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "full comparison failed"),
        }
    }

    fn applied(&self, began: Instant, full: bool) {
        progress::applied(&self.shared, &self.services, began, full);
    }

    /// Serves health check node ports.
    async fn listen(&mut self) {
        let on = self.node.health_checks();
        self.services.listen(on).await;
    }

    /// Looks at the node, if it is time to.
    fn look(&mut self) {
        let ready = self.first_sync.is_none();
        self.node
            .tick(&self.store.read(), &mut self.datapath, ready);
        self.node.mend(|| self.pods.wires());
        self.node.route();
        self.own_addresses();
    }

    async fn tick(&mut self) {
        self.store.expire();
        self.look();
        self.listen().await;
        for (kind, restarts) in self.store.restarts() {
            let labels = KindName::new(kind.to_string());
            let counter = self.shared.metrics.watch_restarts.get_or_create(&labels);
            Metrics::raise(&counter, restarts);
        }
        self.publish();
    }

    /// Tells Services and policy which addresses are the node's own, beside those of its Node object.
    fn own_addresses(&mut self) {
        match own_addresses::read(self.datapath.maps()) {
            Ok(addresses) => {
                self.services.set_own_addresses(&addresses);
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
        sync.errors.extend(self.shared.config_error());
        self.figures.set_sync(sync);
        self.figures.host = self.node.host();
        self.figures.links = self.node.links();
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
) -> anyhow::Result<Pods> {
    let maps = datapath.maps();
    let config = PodsConfig {
        run_dir: shared.config.run_dir.clone(),
        limit: maps.endpoints.capacity().min(maps.policy_words.len()),
        fetch: shared.config.manifests.is_none().then(|| reader.fetch()),
    };
    let tables = PodTables::from(maps);
    let pods = Pods::open(config, tables, datapath)?;
    pods.serve(shared.watchdog.register("pod server"))?;
    Ok(pods)
}

fn of_this_uid(snapshot: &Snapshot, pod: &ObjectName, uid: &str) -> Option<Arc<Pod>> {
    let pod = snapshot.pods.get(pod);
    pod.filter(|pod| pod.is(uid)).cloned()
}

fn ids(pods: &Pods) -> BTreeSet<u32> {
    pods.names().map(|(id, _, _)| id).collect()
}
