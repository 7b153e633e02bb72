//! The main loop: one thread that owns all state and does all writes, fed by changes, questions and timers.

use std::sync::Arc;

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    readiness::{Guard, Readiness},
    status::Figures,
};
use crate::{
    api::{Shared, messages::Names, socket::Question},
    datapath::{Datapath, DatapathConfig, Maps, TcPreference},
    model::Kind,
    observe::{Change, Changes, Store},
};

/// How often the status is published and what failed is tried again.
const TICK: std::time::Duration = std::time::Duration::from_secs(1);

/// Everything that only the main loop touches.
#[derive(Debug)]
pub struct MainLoop {
    shared: Arc<Shared>,
    store: Arc<Store>,
    datapath: Datapath,
    changes: Changes,
    figures: Figures,
    lists: Option<Guard>,
    first_sync: Option<Guard>,
}

impl MainLoop {
    /// Opens the datapath and restores what is pinned.
    pub fn open(
        shared: &Arc<Shared>,
        store: &Arc<Store>,
        readiness: &Readiness,
    ) -> anyhow::Result<Self> {
        let config = &shared.config;
        let datapath = Datapath::open(&DatapathConfig {
            bpffs: config.bpffs.clone(),
            instance: config.instance.clone(),
            cgroup_root: config.cgroup_root.clone(),
            capacities: config.maps.capacities(),
            tc: TcPreference::Auto,
        })?;
        Ok(Self {
            datapath,
            shared: Arc::clone(shared),
            store: Arc::clone(store),
            changes: Changes::new(Arc::clone(store), config.sync.min_period.0),
            figures: Figures::new(readiness.clone()),
            lists: Some(readiness.register("lists of all kinds")),
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
                change = self.changes.next() => self.change(change),
                Some(question) = questions.recv() => self.answer(question),
                _ = full.tick() => self.full(),
                _ = tick.tick() => self.tick(),
            }
        }
    }

    fn change(&mut self, change: Change) {
        self.shared.health.queued();
        self.figures.last_event = Some(Instant::now());
        if change.complete.has(&Kind::ALL) {
            self.lists = None;
        }
        self.sync(&change);
    }

    fn sync(&mut self, _change: &Change) {
        if self.lists.is_none() {
            self.first_sync = None;
        }
        for family in 0..2 {
            self.shared.health.applied(family);
        }
        self.publish();
    }

    fn full(&mut self) {}

    fn tick(&mut self) {
        self.publish();
    }

    fn publish(&self) {
        self.shared
            .publish(self.figures.status(&self.shared, &self.store));
    }

    fn answer(&self, question: Question) {
        match question {
            Question::Names(reply) => {
                // The asker may have gone away.
                drop(reply.send(Names::default()));
            }
            Question::Diff(reply) => drop(reply.send(Vec::new())),
        }
    }
}
