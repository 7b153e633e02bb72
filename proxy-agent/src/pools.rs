//! Addresses for Services of `type: LoadBalancer`, where no cloud gives any (`loadBalancer.pools`).
//!
//! Two things that know nothing of each other but the Services' status. One agent, which has a Lease, gives addresses: it makes a
//! [`plan`] of what Services ask for and writes their status ([`allocator`]). All agents follow the status, as they follow any
//! load balancer's addresses, and on each link elect a node for each address that answers for it by ARP and neighbour discovery
//! ([`election`]).

pub mod allocator;
mod announcer;
pub mod asked;
pub mod beat;
pub mod demand;
pub mod election;
pub mod frames;
pub mod lease;
pub mod plan;
mod speaker;
mod status;
mod wire;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

use self::{
    allocator::Allocator,
    announcer::{Announcer, OfLinks},
    asked::{AllGiven, Asked, Follower},
    speaker::Situation,
};
use crate::{
    api::{
        Shared,
        messages::{Names, Status},
    },
    model::{Kind, Notice, Snapshot},
    observe::{Store, kubernetes::PoolStore},
    subject::{Depth, Here, Room, Subject, Turn, Verified, after},
    watchdog::LIMIT,
};

/// How long good-byes to other nodes may take.
const LEAVE: Duration = Duration::from_millis(500);

/// Gives and announces addresses, beside the main loop.
#[derive(Debug, Default)]
pub struct Tasks(Option<JoinHandle<()>>);

/// What the main loop knows of the pools.
#[derive(Debug)]
pub struct Pools {
    shared: Arc<Shared>,
    follower: Follower,
    given: AllGiven,
    /// Services are in force here.
    serving: bool,
    asked: watch::Sender<Arc<Asked>>,
    situation: watch::Sender<Arc<Situation>>,
    leader: allocator::Said,
    links: OfLinks,
}

/// What begins the work, once the API server is known.
#[derive(Debug)]
pub struct Begin {
    shared: Arc<Shared>,
    asked: watch::Receiver<Arc<Asked>>,
    situation: watch::Receiver<Arc<Situation>>,
    leader: allocator::Said,
    links: OfLinks,
}

impl Begin {
    /// Begins; without an API server addresses are announced only. Needs a runtime.
    pub fn begin(self, store: Option<PoolStore>) -> Tasks {
        let config = &self.shared.config;
        let pools = &config.load_balancer.pools;
        if pools.is_empty() {
            return Tasks::default();
        }
        let watchdog = &self.shared.watchdog;
        if let Some(store) = store {
            let (node, said) = (&config.node_name, self.leader);
            let allocator = Allocator::new(node, pools, store, self.asked, said);
            let pulse = watchdog.register("load balancers' addresses");
            drop(pulse.spawn(allocator.run()));
        }
        let looks = watchdog.work("look at links to announce on", LIMIT);
        let announcer = Announcer::new(config.clone(), self.situation, self.links, looks);
        let pulse = watchdog.register("announcement of addresses");
        let announcer = pulse.spawn(announcer.run());
        Tasks(Some(announcer))
    }
}

impl Tasks {
    /// Waits until other nodes are told that this one leaves, which begins when [`Pools`] is dropped.
    pub async fn leave(self) {
        if let Some(announcer) = self.0 {
            // It has nothing to return.
            drop(timeout(LEAVE, announcer).await);
        }
    }
}

impl Pools {
    /// Nothing is asked yet.
    pub fn new(shared: &Arc<Shared>) -> (Self, Begin) {
        let (asked, asked_receiver) = watch::channel(Arc::default());
        let (situation, situation_receiver) = watch::channel(Arc::default());
        let pools = Self {
            shared: Arc::clone(shared),
            follower: Follower::default(),
            given: AllGiven::new(),
            serving: false,
            asked,
            situation,
            leader: allocator::Said::default(),
            links: OfLinks::default(),
        };
        let begin = Begin {
            shared: Arc::clone(shared),
            asked: asked_receiver,
            situation: situation_receiver,
            leader: pools.leader.clone(),
            links: pools.links.clone(),
        };
        (pools, begin)
    }

    fn is_on(&self) -> bool {
        !self.shared.config.load_balancer.pools.is_empty()
    }

    /// What speakers go by.
    fn tell_situation(&self, snapshot: &Snapshot, serving: bool) {
        let own = snapshot.nodes.get(self.shared.config.node_name.as_str());
        let nodes = snapshot.nodes.values();
        let nodes = nodes.map(|node| (node.name.clone(), node.uid.clone()));
        let situation = Arc::new(Situation {
            given: self.given.clone(),
            willing: serving && own.is_some_and(|node| !node.leaving && !node.excluded),
            uid: own.map(|node| node.uid.clone()).unwrap_or_default(),
            nodes: snapshot
                .complete
                .has(&[Kind::Node])
                .then(|| nodes.collect()),
        });
        self.situation.send_if_modified(|told| {
            let changed = *told != situation;
            *told = situation;
            changed
        });
    }
}

impl Subject for Pools {
    fn name(&self) -> &'static str {
        "pools"
    }

    fn sync(&mut self, turn: &Turn<'_>, here: &mut Here) {
        if !self.is_on() {
            return;
        }
        let settings = &self.shared.config.load_balancer;
        let serving = *here.serving.get();
        let serves = std::mem::replace(&mut self.serving, serving) != serving;
        let changed = self.follower.follow(turn, settings);
        if changed {
            self.given = self.follower.given(settings);
            let asked = self.follower.asked(turn.snapshot);
            self.asked.send_if_modified(|told| {
                let changed = *told != asked;
                *told = asked;
                changed
            });
        }
        if changed || serves {
            self.tell_situation(turn.snapshot, serving);
        }
    }

    fn due(&self) -> Instant {
        after(None)
    }

    /// There are no maps.
    fn verify(&mut self, _: &Store, _: usize, _: Depth) -> Verified {
        Verified::Done(0)
    }

    fn broken(&self) -> Option<&str> {
        None
    }

    fn waits_for_room(&self, _: &mut Room) {}

    fn resized(&mut self, _: &std::collections::BTreeMap<String, u32>) {}

    fn notices(&self) -> Vec<Notice> {
        let said = self.leader.get();
        let refused = said.refused.iter();
        refused
            .map(|(service, refusal)| Notice {
                kind: Kind::Service,
                object: service.clone(),
                reason: refusal.reason(),
                note: format!("no load balancer's address: {refusal}"),
            })
            .collect()
    }

    fn status(&self, status: &mut Status) {
        status.load_balancers = self.words();
    }

    fn names(&self, _: &mut Names) {}

    fn diff(&self, _: &Snapshot) -> anyhow::Result<Vec<String>> {
        Ok(Vec::new())
    }
}
