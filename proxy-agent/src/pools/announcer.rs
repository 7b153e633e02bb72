//! Has a speaker on each link on which addresses belong.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ipnetwork::IpNetwork;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::{
    asked::AllGiven,
    speaker::{Said, Saying, Situation, Speaker},
};
use crate::{
    config::{AddressRange, Configuration},
    node::{
        facts::{Facts, Interface},
        links::{Header, Links, Sources, pattern::matches},
    },
    watchdog::Work,
};

/// How often the machine's links are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long good-byes may take.
const LEAVE: Duration = Duration::from_millis(300);

/// A link on which addresses belong.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    name: String,
    mac: [u8; 6],
    /// Its networks; none: all addresses belong on it.
    networks: Option<Vec<IpNetwork>>,
}

/// What is said of each link, by name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct OfLinks(Arc<Mutex<BTreeMap<String, Said>>>);

impl OfLinks {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said now.
    pub(super) fn get(&self) -> BTreeMap<String, Saying> {
        let all = self.all();
        let all = all
            .iter()
            .map(|(link, said)| (link.clone(), said.get().clone()));
        all.collect()
    }
}

/// A speaker that runs.
struct Running {
    place: Place,
    situation: watch::Sender<Arc<Situation>>,
    task: JoinHandle<()>,
}

/// Follows links and what belongs on them.
pub(super) struct Announcer {
    config: Configuration,
    situation: watch::Receiver<Arc<Situation>>,
    running: BTreeMap<u32, Running>,
    said: OfLinks,
    looks: Work,
}

impl Announcer {
    pub(super) const fn new(
        config: Configuration,
        situation: watch::Receiver<Arc<Situation>>,
        said: OfLinks,
        looks: Work,
    ) -> Self {
        Self {
            config,
            situation,
            running: BTreeMap::new(),
            said,
            looks,
        }
    }

    /// Goes on until nobody tells the situation any more, then says good-bye.
    pub(super) async fn run(mut self) {
        loop {
            match self.looks.spawn(Facts::read).await {
                Ok(Ok(facts)) => self.bring(&facts),
                Ok(Err(error)) => tracing::warn!(%error, "links not read"),
                Err(error) => tracing::warn!(%error, "links not read"),
            }
            if let Ok(Err(_)) = timeout(LOOK, self.situation.changed()).await {
                break;
            }
        }
        for (_, running) in std::mem::take(&mut self.running) {
            drop(running.situation);
            // It may wait for a link that is down; then nobody hears it either.
            drop(timeout(LEAVE, running.task).await);
        }
    }

    /// Begins and ends speakers, and tells them what is so.
    fn bring(&mut self, facts: &Facts) {
        let wanted = places(&self.config, facts);
        self.running.retain(|index, running| {
            let stays = wanted.get(index) == Some(&running.place) && !running.task.is_finished();
            if !stays {
                running.task.abort();
                self.said.all().remove(&running.place.name);
            }
            stays
        });
        let whole = Arc::clone(&self.situation.borrow_and_update());
        for (index, place) in wanted {
            let situation = Arc::new(part(&whole, &place));
            if let Some(running) = self.running.get(&index) {
                running.situation.send_if_modified(|told| {
                    let changed = *told != situation;
                    *told = situation;
                    changed
                });
                continue;
            }
            let (sender, receiver) = watch::channel(situation);
            let said = Said::default();
            self.said.all().insert(place.name.clone(), said.clone());
            let link = (place.name.as_str(), index);
            let speaker = Speaker::new(&self.config.node_name, link, receiver, said);
            let running = Running {
                place,
                situation: sender,
                task: tokio::spawn(speaker.run()),
            };
            self.running.insert(index, running);
        }
    }
}

/// Links on which addresses of the pools belong.
fn places(config: &Configuration, facts: &Facts) -> BTreeMap<u32, Place> {
    let links = Links::of(&config.node.links, facts, |_| Sources::default());
    let links = links.chosen.into_values();
    let links = links.filter(|link| link.header == Header::Ethernet && link.mac != [0; 6]);
    let named = &config.load_balancer.announce_on;
    let found = links.filter_map(|link| {
        let interface = facts.interface(link.index).filter(|i| i.up)?;
        let is_named = named.iter().any(|pattern| matches(pattern, &link.name));
        let networks = if named.is_empty() {
            let networks = networks(config, interface);
            (!networks.is_empty()).then_some(Some(networks))?
        } else {
            is_named.then_some(None)?
        };
        let place = Place {
            name: link.name,
            mac: link.mac,
            networks,
        };
        Some((link.index, place))
    });
    found.collect()
}

/// Networks of a link in which there are addresses of the pools.
fn networks(config: &Configuration, interface: &Interface) -> Vec<IpNetwork> {
    let nets = interface.addresses.iter().map(|address| address.net);
    let has_some = |net: &IpNetwork| {
        let mut ranges = config
            .load_balancer
            .pools
            .iter()
            .flat_map(|pool| &pool.addresses);
        ranges.any(|range| overlap(range, *net))
    };
    nets.filter(has_some).collect()
}

fn overlap(range: &AddressRange, net: IpNetwork) -> bool {
    net.contains(range.first()) || net.contains(range.last()) || range.contains(net.network())
}

/// What of it all belongs on a link.
fn part(whole: &Situation, place: &Place) -> Situation {
    let belongs = |ip: IpAddr| {
        let networks = place.networks.as_ref();
        networks.is_none_or(|networks| networks.iter().any(|net| net.contains(ip)))
    };
    let given = whole.given.iter().filter(|(ip, _)| belongs(**ip));
    let given: AllGiven = given.map(|(ip, given)| (*ip, given.clone())).collect();
    Situation {
        given,
        ..whole.clone()
    }
}
