//! The main loop: one thread that owns all state of Services, policy and pods, and writes their maps. It waits, syncs, and
//! publishes. What takes files or netlink it leaves to threads that may wait: see [`Subject::act`].

mod questions;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    annotations, answers,
    comparison::{BUDGET, Comparisons, Found},
    pressure,
    resizing::{Exchanged, Resizing},
    status::Figures,
    subjects::{Live, Subjects},
    teller,
};
use crate::{
    api::{
        Shared,
        readiness::{Guard, Readiness},
        socket::Question,
    },
    datapath::{Datapath, DatapathConfig, Maps, SharedDatapath, Telling},
    model::{Dirty, Kind, Owned},
    observe::{Change, Changes, Notices, Store},
    pod::clients,
    pools::Pools,
    subject::{Here, Repairs, Subject, Turn, Verified, repairs},
    watchdog::{self, Pulse},
};

/// How often the status is published at the least.
const TICK: Duration = Duration::from_secs(1);
/// Between two times, at the least: a status costs as much as many changes.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the datapath may take to be opened.
const START_LIMIT: Duration = Duration::from_mins(5);
/// Subjects that tell each other more often than so in a turn go on in the next.
const ROUNDS: usize = 8;

/// Everything that only the main loop touches.
pub struct MainLoop {
    shared: Arc<Shared>,
    store: Arc<Store>,
    here: Here,
    subjects: Subjects,
    changes: Changes,
    figures: Figures,
    /// When subjects are to be looked at again, though nothing changes.
    due: Instant,
    /// When the status may be published again.
    publish: Instant,
    /// What is still to be listed whole. Each subject waits for its own kinds only.
    lists: BTreeMap<Kind, Guard>,
    comparisons: Comparisons,
    resizing: Resizing,
    packet_log: Option<JoinHandle<()>>,
    packet_log_pulse: Option<Pulse>,
    notices: Notices,
    repairs: Repairs,
    /// When somebody last asked for a look at the machine.
    looked: Instant,
    /// What that look found is still to be published.
    untold: bool,
    /// Those who wait for that.
    lookers: Vec<oneshot::Sender<()>>,
    pulse: Pulse,
}

/// Why a turn begins.
enum Wake {
    Change,
    Question(Question),
    Full,
    /// A piece of a comparison is due.
    Piece,
    Publish,
    /// It is time to look at the maps' capacities, or some have been exchanged.
    Room(Option<Exchanged>),
    /// A subject knows why.
    Due,
}

impl MainLoop {
    /// Opens the datapath and restores what is pinned.
    pub fn open(
        shared: &Arc<Shared>,
        store: &Arc<Store>,
        readiness: &Readiness,
        (live, pools): (&Live, Pools),
    ) -> anyhow::Result<Self> {
        let pulse = shared.watchdog.register_with("main loop", START_LIMIT);
        let datapath = open_datapath(shared)?;
        let datapath = SharedDatapath::new(datapath);
        let resizing = Resizing::new(shared, &datapath);
        let mut here = Here::new(datapath);
        let mut main_loop = Self {
            shared: Arc::clone(shared),
            store: Arc::clone(store),
            subjects: Subjects::open(shared, &mut here, readiness, live, pools)?,
            here,
            changes: Changes::new(Arc::clone(store), shared.config.sync.min_period.0),
            figures: Figures::new(readiness.clone()),
            due: Instant::now(),
            publish: Instant::now(),
            lists: Kind::ALL
                .map(|kind| (kind, readiness.register(format!("list of {kind}"))))
                .into(),
            comparisons: Comparisons::every(shared.config.sync.full_period.0, Subjects::COUNT),
            resizing,
            packet_log: None,
            packet_log_pulse: None,
            notices: live.notices.clone(),
            repairs: Repairs::default(),
            looked: Instant::now(),
            untold: false,
            lookers: Vec::new(),
            pulse,
        };
        main_loop.follow_drops();
        Ok(main_loop)
    }

    /// Logs what the programs in force tell of packets that they drop, if that is wanted.
    fn follow_drops(&mut self) {
        let log = self.here.datapath.lock().take_packet_log();
        if let Some(log) = log {
            let store = Arc::clone(&self.store);
            let run = log.run(move |wanted| answers::names_at(&store.read(), wanted));
            let watchdog = &self.shared.watchdog;
            let pulse = self
                .packet_log_pulse
                .get_or_insert_with(|| watchdog.register("log of packets"));
            let former = self.packet_log.replace(pulse.clone().spawn(run));
            former.inspect(JoinHandle::abort);
        }
    }

    /// The maps.
    pub fn maps(&self) -> Maps {
        self.here.datapath.lock().maps().clone()
    }

    /// Runs until maps cannot be exchanged: the next start goes on from there.
    pub async fn run(&mut self, mut questions: mpsc::Receiver<Question>) -> anyhow::Result<()> {
        let mut full = interval(self.shared.config.sync.full_period.0);
        full.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.pulse.limit(watchdog::LIMIT);
        loop {
            self.pulse.beat().await;
            let wake = tokio::select! {
                () = self.changes.due() => Wake::Change,
                () = self.subjects.pods.changed() => Wake::Due,
                () = self.subjects.node.changed() => Wake::Due,
                () = sleep_until(self.due) => Wake::Due,
                Some(question) = questions.recv() => Wake::Question(question),
                _ = full.tick() => Wake::Full,
                () = self.comparisons.due() => Wake::Piece,
                () = sleep_until(self.publish) => Wake::Publish,
                exchanged = self.resizing.changed() => Wake::Room(exchanged?),
            };
            self.turn(wake);
        }
    }

    fn turn(&mut self, wake: Wake) {
        match wake {
            Wake::Change => self.sync(true),
            Wake::Due => self.sync(false),
            Wake::Full => self.begin_comparison(),
            Wake::Piece => self.compare().unwrap_or_default(),
            Wake::Question(question) => self.answer(question),
            Wake::Room(Some(maps)) => self.exchanged(&maps),
            Wake::Room(None) => self.resizing.look(),
            Wake::Publish => {}
        }
        self.tell_growth();
        self.answer_lookers();
        if self.publish <= Instant::now() {
            self.publish();
        }
    }

    /// Tells subjects which maps do not grow, at once.
    fn tell_growth(&mut self) {
        let told = self.here.version();
        self.here.in_vain.tell(self.resizing.in_vain().clone());
        if self.here.version() != told {
            self.sync(false);
        }
    }

    /// Maps of other capacities are in force: brings in step what waited for them.
    fn exchanged(&mut self, maps: &Exchanged) {
        self.follow_drops();
        for subject in self.subjects.all_mut() {
            subject.resized(maps);
        }
        self.resizing.done();
        self.sync(false);
    }

    /// Brings everything in step, until no subject has anything new to tell the others; with what has changed, if it is to be
    /// `taken`.
    fn sync(&mut self, taken: bool) {
        let (began, before) = (Instant::now(), self.here.version());
        let nothing = Dirty::default();
        let store = Arc::clone(&self.store);
        let snapshot = store.read();
        let mut change = Change::default();
        if taken {
            change = self.changes.take(&snapshot);
            self.lists.retain(|kind, _| !change.complete.has(&[*kind]));
            self.figures.changed();
        }
        let mut turn = Turn {
            snapshot: &snapshot,
            dirty: &change.dirty,
            relisted: change.relisted,
        };
        for _ in 0..ROUNDS {
            let told = self.here.version();
            for subject in self.subjects.all_mut() {
                subject.sync(&turn, &mut self.here);
            }
            if self.here.version() == told {
                break;
            }
            turn.dirty = &nothing;
            turn.relisted = false;
        }
        drop(snapshot);
        let told = self.here.version();
        for subject in self.subjects.all_mut() {
            subject.act(&mut self.here);
        }
        let news = self.here.version() != told;
        if change.since.is_some() || self.here.version() != before {
            self.publish = self.publish.min(self.figures.published + PAUSE);
        }
        let serving = *self.here.serving.get();
        self.figures.began_serving(&self.shared, serving, began);
        self.judge(&change);
        self.resizing.listen(&self.subjects.all());
        if news {
            self.due = Instant::now();
        }
        if taken {
            self.changes.done();
        }
    }

    /// Tells health what the kernel does not take, and when to look again.
    fn judge(&mut self, change: &Change) {
        let since = change.since.unwrap_or_else(std::time::Instant::now);
        for subject in self.subjects.all() {
            match subject.broken() {
                Some(why) => self.shared.health.behind(subject.name(), since, why),
                None => self.shared.health.in_step(subject.name()),
            }
        }
        let due = self.subjects.all().into_iter().map(Subject::due);
        self.due = due.min().unwrap_or(self.due);
    }

    /// Has everything compared, unless that is under way.
    fn begin_comparison(&mut self) {
        if *self.here.serving.get() {
            self.comparisons.begin_whole();
        }
    }

    /// A piece of a comparison.
    fn compare(&mut self) -> Option<()> {
        let piece = self.comparisons.piece()?;
        let mut subjects = self.subjects.all_mut();
        let subject = subjects.get_mut(piece.subject)?;
        let verified = subject.verify(&self.store, BUDGET, piece.depth);
        if let Verified::More(1..) | Verified::Done(1..) | Verified::Failed(1..) = verified {
            let thing = format!("map entries of {}", subject.name());
            self.repairs.repaired(Owned::MapEntries, &thing);
        }
        if let Some(found) = self.comparisons.note(&piece, verified) {
            let Found { began, drift } = found;
            self.figures.full_done(&self.shared, began, drift);
        }
        self.judge(&Change::default());
        Some(())
    }

    fn publish(&mut self) {
        self.store.expire();
        self.repairs.hear(&self.shared.mended);
        self.publish = Instant::now() + TICK;
        let subjects = self.subjects.all();
        let notices = subjects.iter().flat_map(|subject| subject.notices());
        let node = &self.shared.config.node_name;
        let pressure = pressure::notice(&self.shared.maps(), node);
        let mut status = self.figures.status(&self.shared, &self.store, &subjects);
        self.repairs.status(&mut status.repairs);
        repairs::count(&status.repairs, &self.shared.metrics);
        let repairs = repairs::notices(&status.repairs, node);
        let mut notices: BTreeSet<_> = notices.chain(pressure).chain(repairs).collect();
        let problems = self.store.problems();
        // Sources wait meanwhile, so nothing else is done.
        let seen = self.store.read();
        notices.extend(annotations::notices(&seen, &problems));
        notices.retain(|notice| teller::is_ours(notice, &seen.nodes, node));
        drop(seen);
        self.notices.tell(notices);
        self.shared.publish(status);
    }
}

impl Drop for MainLoop {
    /// Waits for maps that are being exchanged: nothing is left half done.
    fn drop(&mut self) {
        drop(self.here.datapath.lock());
    }
}

fn open_datapath(shared: &Shared) -> anyhow::Result<Datapath> {
    let config = &shared.config;
    Ok(Datapath::open(&DatapathConfig {
        bpffs: config.bpffs.clone(),
        instance: config.instance.clone(),
        cgroup_root: config.cgroup_root.clone(),
        capacities: config.maps.capacities(),
        tc: config.tc_attach.preference(),
        told: Telling {
            drops: config.logging.drops,
            sends: config.logging.xdp_sample,
        },
        clients: clients(&config.run_dir),
    })?)
}
