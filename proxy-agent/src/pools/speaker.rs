//! Takes part in the election on a link, and answers for the addresses that are this node's.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cni_plugin::clock;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    asked::AllGiven,
    beat::Beat,
    election::{BEAT, Election},
    frames::{arp, nd},
    wire::{Frame, Wire},
};

/// How often the election is looked at, besides whenever something is heard.
const LOOK: Duration = Duration::from_millis(100);
/// After a link could not be opened or read.
const AGAIN: Duration = Duration::from_millis(500);

/// What a speaker goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Situation {
    /// The addresses that belong on the link.
    pub(super) given: AllGiven,
    /// This node serves, and does not leave.
    pub(super) willing: bool,
    /// UID of this Node.
    pub(super) uid: String,
    /// All Nodes and their UIDs; none if they are not known.
    pub(super) nodes: Option<BTreeMap<String, String>>,
}

/// What it says of itself. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Said(Arc<Mutex<Saying>>);

/// What it says.
#[derive(Clone, Debug, Default)]
pub(super) struct Saying {
    /// Who answers for each address.
    pub(super) elected: BTreeMap<IpAddr, Option<String>>,
    /// Why it neither hears nor answers.
    pub(super) error: Option<String>,
}

impl Said {
    pub(super) fn get(&self) -> MutexGuard<'_, Saying> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of a link.
#[derive(Debug)]
pub(super) struct Speaker {
    link: String,
    index: u32,
    situation: watch::Receiver<Arc<Situation>>,
    election: Election,
    /// What others were told last.
    told: Vec<Beat>,
    said: Said,
}

impl Speaker {
    pub(super) fn new(
        node: &str,
        (link, index): (&str, u32),
        situation: watch::Receiver<Arc<Situation>>,
        said: Said,
    ) -> Self {
        Self {
            link: link.to_owned(),
            index,
            situation,
            election: Election::begin(node, clock::since_boot()),
            told: Vec::new(),
            said,
        }
    }

    /// Goes on until nobody tells the situation any more; then says good-bye.
    pub(super) async fn run(mut self) {
        loop {
            let result = match Wire::open(&self.link, self.index) {
                Ok(wire) => self.speak(wire).await,
                Err(error) => Err(error),
            };
            let Err(error) = result else { return };
            self.fail(&error);
            // Nobody heard it meanwhile, and it nobody.
            let node = self.election.node().to_owned();
            self.election = Election::begin(&node, clock::since_boot());
            sleep(AGAIN).await;
        }
    }

    /// Nobody is elected by who hears nobody.
    fn fail(&self, error: &io::Error) {
        let error = Some(format!("{}: {error}", self.link));
        let mut said = self.said.get();
        if said.error != error {
            let link = &self.link;
            tracing::warn!(link, error, "load balancers' addresses not announced");
        }
        *said = Saying {
            error,
            ..Saying::default()
        };
    }

    async fn speak(&mut self, mut wire: Wire) -> io::Result<()> {
        let mut beats = interval(BEAT);
        let mut looks = interval(LOOK);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                frame = wire.next() => self.hear(&wire, frame?)?,
                _ = beats.tick() => self.beat(&mut wire)?,
                _ = looks.tick() => self.look(&mut wire)?,
                changed = self.situation.changed() => match changed {
                    Ok(()) => self.look(&mut wire)?,
                    Err(_) => return self.leave(&wire),
                },
            }
        }
    }

    fn hear(&mut self, wire: &Wire, frame: Frame) -> io::Result<()> {
        let mac = wire.mac();
        match frame {
            Frame::Arp(frame) => {
                let question = arp::question(&frame).filter(|q| q.mac != mac);
                let question = question.filter(|q| self.election.has(q.target.into()));
                question.map_or(Ok(()), |q| wire.send(&arp::answer(&q, mac)))
            }
            Frame::Nd(frame) => {
                let question = nd::question(&frame).filter(|q| q.mac != mac);
                let question = question.filter(|q| self.election.has(q.target.into()));
                question.map_or(Ok(()), |q| wire.send(&nd::answer(&q, mac)))
            }
            Frame::Beat(frame) => {
                let content = frame.get(14..).unwrap_or_default();
                if let Some(beat) = Beat::read(content).filter(|beat| self.knows(beat))
                    && self.election.hear(clock::since_boot(), beat)
                {
                    self.elect();
                }
                Ok(())
            }
        }
    }

    /// Whether somebody is of this cluster.
    fn knows(&self, beat: &Beat) -> bool {
        let situation = self.situation.borrow();
        let nodes = situation.nodes.as_ref();
        nodes.is_none_or(|nodes| nodes.get(&beat.node) == Some(&beat.uid))
    }

    fn elect(&mut self) {
        let situation = Arc::clone(&self.situation.borrow());
        let now = clock::since_boot();
        let before: BTreeSet<IpAddr> = self.election.own().collect();
        self.election
            .elect(now, &situation.given, situation.willing);
        let after: BTreeSet<IpAddr> = self.election.own().collect();
        let link = &self.link;
        for ip in after.difference(&before) {
            tracing::info!(%ip, link, "this node answers for a load balancer's address");
        }
        for ip in before.difference(&after) {
            tracing::info!(%ip, link, "this node does not answer for a load balancer's address any more");
        }
        let given = &situation.given;
        let elected = given.keys().map(|ip| {
            let elected = self.election.elected(now, *ip, given);
            (*ip, elected.map(str::to_owned))
        });
        let saying = Saying {
            elected: elected.collect(),
            error: None,
        };
        *self.said.get() = saying;
    }

    /// Elects; says at once what is new.
    fn look(&mut self, wire: &mut Wire) -> io::Result<()> {
        self.elect();
        wire.listen(&self.election.own().collect())?;
        if self.telling() != self.told {
            self.tell(wire)?;
        }
        // What is new is said now, and again with the next beats.
        let new = self.election.untold();
        announce(wire, new)
    }

    fn beat(&mut self, wire: &mut Wire) -> io::Result<()> {
        self.elect();
        wire.listen(&self.election.own().collect())?;
        self.tell(wire)?;
        let due = self.election.due();
        announce(wire, due)
    }

    fn telling(&self) -> Vec<Beat> {
        let situation = self.situation.borrow();
        self.election
            .tell(clock::since_boot(), &situation.uid, &situation.given)
    }

    fn tell(&mut self, wire: &Wire) -> io::Result<()> {
        self.told = self.telling();
        let mut frames = self.told.iter().filter_map(Beat::write);
        frames.try_for_each(|frame| wire.tell(&frame))
    }

    /// Others need not wait to find this node dead.
    fn leave(&mut self, wire: &Wire) -> io::Result<()> {
        let now = clock::since_boot();
        self.election.elect(now, &AllGiven::new(), false);
        self.tell(wire)
    }
}

/// Tells all neighbours that addresses are here.
fn announce(wire: &Wire, addresses: Vec<IpAddr>) -> io::Result<()> {
    for address in addresses {
        match address {
            IpAddr::V4(ip) => {
                let frames = arp::announcements(ip, wire.mac());
                frames.iter().try_for_each(|frame| wire.send(frame))?;
            }
            IpAddr::V6(ip) => wire.send(&nd::announcement(ip, wire.mac()))?,
        }
    }
    Ok(())
}
