//! The endpoints of this node, driven by the main loop.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use cni_plugin::{
    node_file::boot_id,
    paths::Paths,
    rpc::{Add, Call, Key, PortMapping, Reply, Response},
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    Fetch, Interfaces, PodTables,
    collector::Memory,
    entries::Entries,
    event::Event,
    hardware::Looking,
    host_port,
    ids::Ids,
    lift::Lifting,
    limits::Watching,
    local::Local,
    restore::restore,
    server::{self, Asked},
    tables::PodMirrors,
    waiting::{Missing, Waiting, settle},
};
use crate::{
    api::{Shared, unix::Bound},
    datapath::TcMode,
    model::{HostPort, LocalEndpoint, ObjectName, Owned, Pod, Wire},
    subject::Repairs,
    watchdog::Work,
};

/// Says whether a pod may have addresses, or why not.
pub type Admit = Arc<dyn Fn(&[IpAddr]) -> Result<(), String> + Send + Sync>;

/// What [`Pods`] needs to know.
#[derive(Clone)]
pub struct PodsConfig {
    /// Folder shared with the plugin.
    pub run_dir: PathBuf,
    /// Ids are below this: the smaller of what `ENDPOINTS` and `POLICY_WORDS` hold by now.
    pub limit: Arc<dyn Fn() -> u32 + Send + Sync>,
    /// Reads a pod that the watch has not delivered.
    pub fetch: Option<Fetch>,
    /// Whether a pod may have these addresses, or why not.
    pub admit: Admit,
    /// Watches over the sweep.
    pub sweeping: Work,
}

/// The endpoints of this node.
pub struct Pods {
    pub(super) config: PodsConfig,
    pub(super) paths: Paths,
    pub(super) boot_id: String,
    pub(super) tables: PodMirrors,
    pub(super) ids: Ids,
    /// Somebody was refused because no id was free.
    pub(super) starved: bool,
    pub(super) known: BTreeMap<Key, Local>,
    pub(super) waiting: Vec<Waiting>,
    /// Taken in, but not yet attached.
    pub(super) fresh: Vec<Key>,
    pub(super) lifting: Lifting,
    pub(super) looking: Looking,
    pub(super) watching: Watching,
    pub(super) memory: Option<Memory>,
    pub(super) repairs: Repairs,
    pub(super) next_sweep: Instant,
    pub(super) next_look: Instant,
    pub(super) send: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    /// An event that waits to be taken.
    pub(super) next: Option<Event>,
}

impl Pods {
    /// Takes over what a former agent left: endpoints, their entries, their programs. An interface whose
    /// programs cannot be attached is logged and tried again by the sweep.
    pub fn open(
        config: PodsConfig,
        tables: PodTables,
        interfaces: &mut dyn Interfaces,
    ) -> anyhow::Result<Self> {
        let paths = Paths::new(&config.run_dir);
        let boot_id = boot_id().context("read boot_id")?;
        let tables = PodMirrors::open(tables)?;
        let (known, ids) = restore(&paths, &boot_id, tables.endpoints(), (config.limit)())?;
        let (send, events) = mpsc::channel(256);
        let mut pods = Self {
            config,
            paths,
            boot_id,
            tables,
            ids,
            starved: false,
            known: BTreeMap::new(),
            waiting: Vec::new(),
            fresh: Vec::new(),
            lifting: Lifting::new(interfaces)?,
            looking: Looking::new(),
            watching: Watching::new(),
            memory: Some(Memory::default()),
            repairs: Repairs::default(),
            next_sweep: Instant::now(),
            next_look: Instant::now(),
            send,
            events,
            next: None,
        };
        for (key, local) in known {
            pods.known.insert(key, local);
        }
        pods.bury(&*interfaces);
        pods.reconcile();
        // Of pods that went while no agent was there, too.
        pods.end_flows();
        if let Err(error) = interfaces.take_over() {
            tracing::warn!(%error, "pods keep the programs of the agent before");
        }
        let keys = pods.known.keys().cloned().collect();
        for (key, error) in pods.attach_all(keys, interfaces) {
            tracing::warn!(container = key.container_id, %error, "pod's programs not attached");
        }
        tracing::info!(pods = pods.known.len(), "endpoints restored");
        Ok(pods)
    }

    /// Begins to serve the plugin. Needs a runtime.
    pub fn serve(&self, shared: &Arc<Shared>) -> anyhow::Result<()> {
        let pulse = shared.watchdog.register("pod server");
        let socket = self.paths.socket();
        let (to, mut asked) = mpsc::channel(64);
        let bound = Bound::new(&socket, Owned::PluginSocket)
            .with_context(|| format!("listen on {}", socket.display()))?
            .telling(&shared.mended);
        // Ends with the runtime.
        drop(server::serve(bound, to, server::count_in(shared), pulse));
        let send = self.send.clone();
        tokio::spawn(async move {
            let mut tick = interval(Duration::from_secs(1));
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let event = tokio::select! {
                    Some(asked) = asked.recv() => Event::Asked(asked),
                    _ = tick.tick() => Event::Tick,
                };
                if send.send(event).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Returns when something has happened; the next sync looks at it. May be dropped at any time.
    pub async fn changed(&mut self) {
        if self.next.is_none() {
            // `self` holds a sender: the channel never ends.
            self.next = self.events.recv().await;
        }
    }

    /// What is to be taken next.
    pub(super) fn next(&mut self) -> Option<Event> {
        self.next.take().or_else(|| self.events.try_recv().ok())
    }

    /// All endpoints, for the policy engine.
    pub fn endpoints(&self) -> Vec<LocalEndpoint> {
        self.known
            .values()
            .map(|local| LocalEndpoint {
                id: local.id,
                pod: name(&local.add),
                uid: local.add.pod.uid.clone(),
                ips: local.add.ips.clone(),
                fetched: local.fetched.clone(),
            })
            .collect()
    }

    /// The `hostPort`s of each endpoint's pod, in the order in which they were wired.
    pub fn host_ports(&self) -> Vec<(String, Vec<HostPort>)> {
        let mut locals: Vec<&Local> = self.known.values().collect();
        locals.sort_by_key(|local| (local.since, local.id));
        let ports = locals.into_iter().map(|local| {
            // An ADD that gives no sense was refused.
            let ports = host_port::of(&local.add).unwrap_or_default();
            (local.add.pod.to_string(), ports)
        });
        ports.filter(|(_, ports)| !ports.is_empty()).collect()
    }

    /// Takes the `hostPort`s that a Pod names, if the runtime told none of its container: CRI-O tells none. True: that is
    /// news.
    pub(super) fn take_ports(&mut self, key: &Key, ports: &[PortMapping]) -> bool {
        let of_container = |local: &&Local| local.add.key.container_id == key.container_id;
        let mut interfaces = self.known.values().filter(of_container);
        if ports.is_empty() || interfaces.any(|local| !local.add.ports.is_empty()) {
            return false;
        }
        let Some(local) = self.known.get_mut(key) else {
            return false;
        };
        local.add.ports = ports.to_vec();
        if let Err(error) = host_port::of(&local.add) {
            tracing::warn!(pod = %local.add.pod, error, "hostPorts of the Pod make no sense");
            local.add.ports.clear();
            return false;
        }
        true
    }

    /// Endpoint id → pod and addresses, for people.
    pub fn wired(&self) -> impl Iterator<Item = (u32, ObjectName, &[IpAddr])> {
        self.known
            .values()
            .map(|local| (local.id, name(&local.add), local.add.ips.as_slice()))
    }

    /// The host sides of all endpoints' interfaces.
    pub fn wires(&self) -> Vec<Wire> {
        let adds = self.known.values().map(|local| &local.add);
        adds.map(|add| Wire {
            name: add.host_ifname.clone(),
            index: add.host_ifindex,
            pod_mac: add.pod_mac,
            ips: add.ips.clone(),
        })
        .collect()
    }

    /// How many endpoints' programs are attached in a way.
    pub fn attached(&self, mode: TcMode) -> usize {
        let locals = self.known.values();
        locals.filter(|local| local.mode == Some(mode)).count()
    }

    /// Handles an event. True: [`Self::endpoints`] changed; [`Self::attach`] must follow, and policy be brought in
    /// step, before [`Self::settle`]. `known` gives the pod of this name and UID, if the watch has delivered it.
    pub fn take(
        &mut self,
        event: Event,
        interfaces: &mut dyn Interfaces,
        known: impl Fn(&ObjectName, &str) -> Option<Arc<Pod>>,
    ) -> bool {
        match event {
            Event::Asked(Asked { call, reply }) => match call {
                Call::Add(add) => {
                    self.lifting.disturb();
                    self.add(*add, reply, &*interfaces, known)
                }
                Call::Del(key) => {
                    self.lifting.disturb();
                    let changed = self.remove(&key, interfaces);
                    drop(reply.send(Response::Ok(Reply::default())));
                    changed
                }
                Call::Check(key) => {
                    drop(reply.send(self.check(&key)));
                    false
                }
            },
            Event::Fetched(key, fetched) => self.fetched(&key, fetched),
            Event::Swept(memory, sweep) => self.swept(memory, sweep, interfaces),
            Event::Lifted(outcomes) => {
                self.lifted(outcomes, interfaces);
                false
            }
            Event::Looked(changed) => self.looked(changed),
            Event::Tick => {
                self.end_spent_flows();
                self.sweep();
                self.look(interfaces);
                self.watch_limits(interfaces);
                self.look_at_hardware();
                self.lift();
                false
            }
        }
    }

    /// Answers the ADDs for which nothing is missing, and those that wait in vain. `ready` is given endpoint
    /// id and pod, once the programs are attached.
    pub fn settle(&mut self, ready: impl Fn(u32, &str) -> Result<(), Missing>) {
        if self.waiting.is_empty() {
            return;
        }
        let locals = self.known.values();
        let attached: BTreeSet<u32> = locals.filter(|l| l.mode.is_some()).map(|l| l.id).collect();
        let limiting = self.known.values();
        let limiting = limiting.filter_map(|l| Some((l.id, l.limiting.missing()?)));
        let limiting: BTreeMap<u32, Missing> = limiting.collect();
        let ready = |endpoint: u32, pod: &str| {
            if !attached.contains(&endpoint) {
                return Err(Missing::Policy);
            }
            ready(endpoint, pod)?;
            limiting.get(&endpoint).cloned().map_or(Ok(()), Err)
        };
        let reply = |waiting: &Waiting| {
            let add = self.known.get(&waiting.key).map(|local| &local.add);
            Reply {
                endpoint: waiting.endpoint,
                ports: add.map_or_else(Vec::new, |add| add.ports.clone()),
                bandwidth: add.and_then(|add| add.bandwidth.clone()),
            }
        };
        settle(&mut self.waiting, Instant::now(), ready, reply);
    }

    /// Ends the flows of pods that are gone, if any went: before their ids may be another's.
    pub(super) fn end_spent_flows(&mut self) {
        if self.ids.any_spent() {
            self.end_flows();
        }
    }

    fn end_flows(&mut self) {
        self.tables.end_flows(|id| self.ids.is_nobodys(id));
        self.ids.ended();
    }

    pub(super) fn desired(&self) -> Entries {
        Entries::of(self.known.values().map(Local::entry))
    }

    /// Follows what pods say of their sockets and of limits, and their `hostPort`s, should they arrive late. `known` is that
    /// of [`Self::take`]. True: there are `hostPort`s that were not known.
    pub(super) fn follow_pods(
        &mut self,
        interfaces: &mut dyn Interfaces,
        known: impl Fn(&ObjectName, &str) -> Option<Arc<Pod>>,
    ) -> bool {
        let (mut changed, mut ports, mut limits) = (false, Vec::new(), Vec::new());
        for (key, local) in &mut self.known {
            let pod = known(&name(&local.add), &local.add.pod.uid);
            let said = pod.as_ref().or(local.fetched.as_ref());
            if let Some(said) = said
                && local.limiting.differs(said.limits())
            {
                limits.push((key.clone(), said.limits().cloned()));
            }
            // A pod that nobody knows stays as it was.
            let by_packet = said.map_or(local.by_packet, |pod| pod.by_packet);
            if let Some(pod) = pod.filter(|pod| !pod.host_ports().is_empty()) {
                ports.push((key.clone(), pod));
            }
            changed |= std::mem::replace(&mut local.by_packet, by_packet) != by_packet;
        }
        if changed {
            self.reconcile();
        }
        for (key, asked) in limits {
            self.ask_limits(&key, asked.as_ref(), interfaces);
        }
        let mut news = false;
        for (key, pod) in ports {
            news |= self.take_ports(&key, pod.host_ports());
        }
        news
    }

    pub(super) fn reconcile(&mut self) {
        let desired = self.desired();
        if let Err(error) = self.tables.reconcile(&desired) {
            tracing::warn!(%error, "endpoints not in step; tried again by the next sweep");
        }
    }
}

pub(super) fn name(add: &Add) -> ObjectName {
    ObjectName::new(add.pod.namespace.as_str(), add.pod.name.as_str())
}
