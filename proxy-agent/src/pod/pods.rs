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
    rpc::{Add, Call, Key, Reply, Response},
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    Fetch, Interfaces, PodTables,
    collector::{Memory, tombstones},
    cut_off::AllForgotten,
    entries::Entries,
    event::Event,
    hands::{self, Hands, Job},
    hardware::Looking,
    ids::Ids,
    lift::Lifting,
    limits::Watching,
    local::Local,
    records::Keeping,
    restore::restore,
    server,
    tables::PodMirrors,
    waiting::{Missing, Waiting, settle},
    works::Works,
};
use crate::{
    api::{Shared, unix::Bound},
    model::{ObjectName, Owned, Pod},
    subject::{Asked, Repairs},
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
    /// What is done beside.
    pub works: Works,
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
    /// Those whose interfaces were gone too long.
    pub(super) forgotten: AllForgotten,
    pub(super) waiting: Vec<Waiting>,
    /// Taken in, but not yet attached.
    pub(super) fresh: Vec<Key>,
    pub(super) hands: Option<Hands>,
    /// A look at programs is under way.
    pub(super) watched: bool,
    pub(super) asked: Asked,
    /// Whom the plugin asked for since the last sweep began.
    pub(super) meanwhile: BTreeSet<Key>,
    pub(super) lifting: Lifting,
    pub(super) looking: Looking,
    pub(super) keeping: Keeping,
    /// Endpoints were compared with the pods that the API server knows.
    pub(super) compared: bool,
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
        let (known, ids) = restore(&paths, &boot_id, tables.pinned(), (config.limit)())?;
        let (send, events) = mpsc::channel(256);
        let mut pods = Self {
            config,
            paths,
            boot_id,
            tables,
            ids,
            starved: false,
            known: BTreeMap::new(),
            forgotten: AllForgotten::new(),
            waiting: Vec::new(),
            fresh: Vec::new(),
            hands: None,
            watched: false,
            asked: Asked::Nobody,
            meanwhile: BTreeSet::new(),
            lifting: Lifting::new(interfaces)?,
            looking: Looking::new(),
            keeping: Keeping::new(),
            compared: false,
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
        pods.bury(tombstones(&pods.paths), interfaces);
        pods.reconcile();
        // Of pods that went while no agent was there, too.
        pods.end_flows();
        if let Err(error) = interfaces.take_over() {
            tracing::warn!(%error, "pods keep the programs of the agent before");
        }
        let sides = pods.known.values().map(Local::side).collect();
        for (side, outcome) in hands::attach(interfaces, sides) {
            if let Some(local) = pods.known.get_mut(&side.key) {
                local.hang(outcome);
            }
        }
        tracing::info!(pods = pods.known.len(), "endpoints restored");
        Ok(pods)
    }

    /// Begins to serve the plugin, and to leave interfaces to a thread that may wait for them. Needs a runtime.
    pub fn serve(
        &mut self,
        shared: &Arc<Shared>,
        interfaces: Box<dyn Interfaces + Send>,
    ) -> anyhow::Result<()> {
        let work = self.config.works.attaching.clone();
        let hands = Hands::begin(interfaces, self.send.clone(), work);
        self.hands = Some(hands.context("begin the thread of pods' programs")?);
        let pulse = shared.watchdog.register("pod server");
        let socket = self.paths.socket();
        let (to, mut asked) = mpsc::channel(64);
        let bound = Bound::new(&socket, Owned::PluginSocket)
            .with_context(|| format!("listen on {}", socket.display()))?
            .telling(&shared.mended);
        // Ends with the runtime.
        drop(server::serve(bound, to, server::count_in(shared), pulse));
        let send = self.send.clone();
        let pulse = shared.watchdog.register("events of pods");
        let pass_on = async move {
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
        };
        drop(pulse.spawn(pass_on));
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

    /// Handles an event. True: [`Self::endpoints`] changed; [`Self::attach`] must follow, and policy be brought in
    /// step, before [`Self::settle`]. `known` gives the pod of this name and UID, if the watch has delivered it.
    pub fn take(
        &mut self,
        event: Event,
        interfaces: &mut dyn Interfaces,
        known: impl Fn(&ObjectName, &str) -> Option<Arc<Pod>>,
    ) -> bool {
        match event {
            Event::Asked(server::Asked { call, reply }) => match call {
                Call::Add(add) => {
                    self.disturb(&add.key);
                    self.add(*add, reply, interfaces, known)
                }
                Call::Del(key) => {
                    self.disturb(&key);
                    let changed = self.remove(&key, interfaces);
                    let done = Response::Ok(Reply::default());
                    self.give(Job::Answer(reply, done), interfaces);
                    changed
                }
                Call::Check(key) => {
                    self.name(&key);
                    drop(reply.send(self.check(&key)));
                    false
                }
            },
            Event::Fetched(key, fetched) => self.fetched(&key, fetched),
            Event::Swept(swept) => self.swept(*swept, interfaces),
            Event::Attached(attached) => self.note_attached(attached, interfaces),
            Event::Watched(watched) => {
                self.note_watched(watched, interfaces);
                false
            }
            Event::Limited(limited) => {
                self.note_limited(*limited);
                false
            }
            Event::LookedAtLimits(looked) => {
                self.note_looked(looked, interfaces);
                false
            }
            Event::Lifted(outcomes) => {
                self.lifted(outcomes, interfaces);
                false
            }
            Event::Looked(changed) => self.looked(changed),
            Event::Kept(kept) => self.kept(kept),
            Event::Tick => {
                self.end_spent_flows();
                self.sweep();
                self.look(interfaces);
                self.watch_limits(interfaces);
                self.look_at_hardware();
                self.keep_records();
                self.lift();
                false
            }
        }
    }

    /// The plugin asks for an interface.
    fn disturb(&mut self, key: &Key) {
        self.lifting.disturb();
        self.meanwhile.insert(key.clone());
        self.name(key);
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

    pub(super) fn end_flows(&mut self) {
        self.tables.end_flows(|id| self.ids.is_nobodys(id));
        self.ids.ended();
    }

    pub(super) fn desired(&self) -> Entries {
        Entries::of(self.known.values().map(Local::entry))
    }

    pub(super) fn reconcile(&mut self) {
        let desired = self.desired();
        if let Err(error) = self.tables.reconcile(&desired) {
            tracing::warn!(%error, "endpoints not in step; tried again by the next sweep");
        }
    }
}

impl Drop for Pods {
    /// Nobody takes events any more: the thread of pods' programs waits for none.
    fn drop(&mut self) {
        self.events.close();
    }
}

pub(super) fn name(add: &Add) -> ObjectName {
    ObjectName::new(add.pod.namespace.as_str(), add.pod.name.as_str())
}
