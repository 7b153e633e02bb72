//! Maps that look at all of themselves after each write.

mod look;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use ipnetwork::IpNetwork;
use proxy_common::{
    address::UDP,
    backends::{MEMBER_LINGERS, SlotKey},
    frontends::{BackendSet, Frontend},
};

use crate::{
    datapath::{
        memory_table::MemoryTable,
        table::{Table, TableError},
        words::{bit, set_bits},
    },
    model::Snapshot,
    service::{
        MemoryMaps, ServiceTables,
        desired::Scope,
        key::FrontendKey,
        pool::{server4, server6},
    },
};

use self::wanted::{Serving, ports, serving, sources, wanted};
use super::OWN;

/// The maps, and what each frontend may lead to.
#[derive(Clone)]
pub(super) struct World {
    pub(super) maps: MemoryMaps,
    allowed: Arc<Mutex<Allowed>>,
    /// What concerns datagrams was written since the epoch was raised.
    unannounced: Arc<AtomicBool>,
}

/// What the frontends' sets may hold: those of the last settled state and of all states since.
#[derive(Default)]
struct Allowed {
    sets: BTreeMap<FrontendKey, Vec<[Serving; 2]>>,
    /// Which sets of its port a frontend refers to until it is written anew or removed.
    scopes: BTreeMap<FrontendKey, [Scope; 2]>,
    /// Who may use a load balancer's address, in all those states.
    sources: BTreeMap<FrontendKey, Vec<BTreeSet<IpNetwork>>>,
    /// Who was a member at the last settled state, and has served ever since.
    kept: BTreeMap<FrontendKey, [Serving; 2]>,
    /// What was a frontend at the last settled state, and in all states since.
    steady: BTreeSet<FrontendKey>,
}

/// A table that has its world checked after each write.
#[derive(Clone)]
struct Checked<K, V> {
    table: MemoryTable<K, V>,
    world: World,
}

impl<K: Copy + Ord + Debug + Send, V: Copy + PartialEq + Debug + Send> Table<K, V>
    for Checked<K, V>
{
    fn name(&self) -> &str {
        self.table.name()
    }

    fn capacity(&self) -> u32 {
        self.table.capacity()
    }

    fn get(&self, key: &K) -> Result<Option<V>, TableError> {
        self.table.get(key)
    }

    fn set(&mut self, key: &K, value: &V) -> Result<(), TableError> {
        self.table.set(key, value)?;
        self.world.note(self.name(), &format!("{key:?}"));
        self.world
            .check(&format!("{} {key:?} = {value:?}", self.name()));
        Ok(())
    }

    fn remove(&mut self, key: &K) -> Result<(), TableError> {
        self.table.remove(key)?;
        self.world.note(self.name(), &format!("{key:?}"));
        self.world
            .check(&format!("{} {key:?} removed", self.name()));
        Ok(())
    }

    fn entries(&self) -> Result<Vec<(K, V)>, TableError> {
        self.table.entries()
    }
}

impl World {
    pub(super) fn new(seed: u64, percent: u64) -> Self {
        Self {
            maps: MemoryMaps::new(4096, seed, percent),
            allowed: Arc::default(),
            unannounced: Arc::default(),
        }
    }

    pub(super) fn tables(&self) -> ServiceTables {
        ServiceTables {
            frontends4: self.checked(&self.maps.frontends4),
            frontends6: self.checked(&self.maps.frontends6),
            backends4: self.checked(&self.maps.backends4),
            backends6: self.checked(&self.maps.backends6),
            slots: self.checked(&self.maps.slots),
            members: self.checked(&self.maps.members),
            maglev: self.checked(&self.maps.maglev),
            sources4: self.checked(&self.maps.sources4),
            sources6: self.checked(&self.maps.sources6),
            vips4: self.checked(&self.maps.vips4),
            vips6: self.checked(&self.maps.vips6),
            affinity: self.checked(&self.maps.affinity),
            epoch: self.checked(&self.maps.epoch),
            node_ports: Box::new(self.maps.node_ports.clone()),
        }
    }

    fn checked<K, V>(&self, table: &MemoryTable<K, V>) -> Box<Checked<K, V>>
    where
        K: Copy + Ord + Debug + Send + 'static,
        V: Copy + PartialEq + Debug + Send + 'static,
    {
        Box::new(Checked {
            table: table.clone(),
            world: self.clone(),
        })
    }

    /// From now on this state is allowed too.
    pub(super) fn expect(&self, snapshot: &Snapshot) {
        let mut allowed = self.allowed.lock().unwrap();
        let wanted = wanted(snapshot);
        let scopes = allowed.scopes.clone();
        allowed.kept.retain(|key, kept| {
            let now = wanted
                .get(key)
                .filter(|now| scopes.get(key) == Some(&now.scopes));
            for (side, kept) in kept.iter_mut().enumerate() {
                kept.retain(|server| now.is_some_and(|now| now.members(side).contains(server)));
            }
            now.is_some()
        });
        for (key, sources) in sources(snapshot) {
            allowed.sources.entry(key).or_default().push(sources);
        }
        allowed.steady.retain(|key| wanted.contains_key(key));
        for (key, want) in wanted {
            allowed.sets.entry(key).or_default().push(want.serving);
        }
        let ports = ports(snapshot);
        for (key, scopes) in allowed.scopes.clone() {
            // The port's other frontends may have had the sets edited by then.
            let port = ports.iter().find(|(number, port)| {
                let same = [80, 30_000].contains(&(key.port() - *number as u16));
                let ipv6 = matches!(key, FrontendKey::V6(_));
                same && port.ipv6 == ipv6 && port.protocol.number() == key.protocol()
            });
            if let Some((_, port)) = port {
                let sets = scopes.map(|scope| serving(port, scope));
                allowed.sets.entry(key).or_default().push(sets);
            }
        }
    }

    /// From now on only this state is allowed, and it must be in force.
    pub(super) fn settled(&self, snapshot: &Snapshot) {
        let wanted = wanted(snapshot);
        let live: Vec<FrontendKey> = self.frontends().into_iter().map(|(k, _)| k).collect();
        let keys: Vec<FrontendKey> = wanted.keys().copied().collect();
        assert_eq!(live, keys, "frontends");
        let by_key = || wanted.iter().map(|(key, want)| (*key, want));
        *self.allowed.lock().unwrap() = Allowed {
            sets: by_key()
                .map(|(k, w)| (k, vec![w.serving.clone()]))
                .collect(),
            scopes: by_key().map(|(k, w)| (k, w.scopes)).collect(),
            sources: sources(snapshot)
                .into_iter()
                .map(|(k, s)| (k, vec![s]))
                .collect(),
            steady: wanted.keys().copied().collect(),
            kept: by_key()
                .map(|(k, w)| (k, [0, 1].map(|side| w.members(side))))
                .collect(),
        };
        self.check("settled");
        for (key, frontend) in self.frontends() {
            self.check_members(&key, &frontend, &wanted[&key]);
        }
        self.check_vips();
        let used = self.node_ports();
        let set = set_bits(&self.maps.node_ports).into_iter();
        let set: BTreeSet<u16> = set.map(|port| port as u16).collect();
        assert_eq!(set, used, "ports of the node");
        let unannounced = self.unannounced.load(Ordering::Relaxed);
        assert!(!unannounced, "the epoch of Services was not raised");
    }

    /// Ports of frontends, and of backends on this node.
    fn node_ports(&self) -> BTreeSet<u16> {
        let own: Vec<IpAddr> = OWN.map(|own| own.parse().unwrap()).into();
        let frontends = self.frontends().into_iter();
        let backends = self.maps.backends4.entries().unwrap().into_iter();
        let here = backends
            .map(|(_, b)| server4(&b))
            .filter(|s| own.contains(&s.address));
        frontends
            .map(|(key, _)| key.port())
            .chain(here.map(|s| s.port))
            .collect()
    }

    /// Notes a write: of what concerns datagrams, or the epoch.
    fn note(&self, table: &str, key: &str) {
        let concerns_datagrams = match table {
            "SERVICE_EPOCH" => return self.unannounced.store(false, Ordering::Relaxed),
            "FRONTENDS4" | "FRONTENDS6" => key.contains("protocol: 17"),
            "BACKEND_MEMBERS" => {
                let (_, id) = key.rsplit_once("backend: ").unwrap();
                self.is_of_datagrams(id.trim_end_matches(" }").parse().unwrap())
            }
            _ => false,
        };
        if concerns_datagrams {
            self.unannounced.store(true, Ordering::Relaxed);
        }
    }

    fn is_of_datagrams(&self, backend: u32) -> bool {
        let v4 = self
            .maps
            .backends4
            .get(&backend)
            .unwrap()
            .map(|b| b.protocol);
        let v6 = self
            .maps
            .backends6
            .get(&backend)
            .unwrap()
            .map(|b| b.protocol);
        v4.or(v6) == Some(UDP)
    }

    /// The members of each set, by address, and whether they linger.
    fn members(&self) -> BTreeMap<u32, BTreeMap<String, bool>> {
        let mut sets: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (key, slot) in self.maps.members.entries().unwrap() {
            if let Some(server) = self.server(key.backend) {
                let members = sets.entry(key.set).or_default();
                members.insert(server, slot == MEMBER_LINGERS);
            }
        }
        sets
    }

    /// The address of a backend.
    fn server(&self, id: u32) -> Option<String> {
        let v4 = self.maps.backends4.get(&id).unwrap().map(|b| server4(&b));
        let v6 = self.maps.backends6.get(&id).unwrap().map(|b| server6(&b));
        Some(v4.or(v6)?.address.to_string())
    }

    fn frontends(&self) -> Vec<(FrontendKey, Frontend)> {
        let v4 = self.maps.frontends4.entries().unwrap().into_iter();
        let v6 = self.maps.frontends6.entries().unwrap().into_iter();
        let mut all: Vec<_> = v4.map(|(k, v)| (FrontendKey::V4(k), v)).collect();
        all.extend(v6.map(|(k, v)| (FrontendKey::V6(k), v)));
        all.sort_by_key(|(k, _)| *k);
        all
    }

    /// Every frontend leads to live backends, each of them of a state that is allowed.
    fn check(&self, after: &str) {
        let allowed = self.allowed.lock().unwrap();
        let live: BTreeSet<FrontendKey> = self.frontends().into_iter().map(|(k, _)| k).collect();
        let missing = allowed.steady.difference(&live).next();
        assert_eq!(missing, None, "after {after}: a frontend is missing");
        let members = self.members();
        for (key, frontend) in self.frontends() {
            self.check_table(&key, &frontend, after);
            let states = allowed.sets.get(&key);
            let states = states.unwrap_or_else(|| panic!("after {after}: {key} is unexpected"));
            if let Some(states) = allowed.sources.get(&key) {
                self.check_sources(&frontend, states, &format!("after {after}: {key}"));
            }
            for (side, set) in [frontend.internal, frontend.external]
                .into_iter()
                .enumerate()
            {
                let serving = self.serving(&key, set, after);
                let known: Serving = states.iter().flat_map(|s| s[side].clone()).collect();
                assert!(
                    serving.is_subset(&known),
                    "after {after}: {key} leads to {serving:?}, allowed is {known:?}"
                );
                let may_be_empty = states.iter().any(|s| s[side].is_empty());
                assert!(
                    may_be_empty || !serving.is_empty(),
                    "after {after}: {key} leads to nobody"
                );
                if let Some(kept) = allowed.kept.get(&key) {
                    let members = members.get(&set.id);
                    let is_lost = |server: &&String| {
                        members.is_none_or(|members| !members.contains_key(*server))
                    };
                    let lost = kept[side].iter().find(is_lost);
                    assert_eq!(lost, None, "after {after}: {key} loses who still serves");
                }
            }
        }
        let ports = self.node_ports().into_iter();
        let unset = ports.filter(|port| !bit(&self.maps.node_ports, (*port).into()));
        assert_eq!(unset.collect::<Vec<_>>(), [0; 0], "after {after}");
    }

    fn serving(&self, key: &FrontendKey, set: BackendSet, after: &str) -> Serving {
        let mut serving = Serving::new();
        for index in 0..set.count {
            let slot = SlotKey { set: set.id, index };
            let Some(id) = self.maps.slots.get(&slot).unwrap() else {
                panic!("after {after}: slot {index} of {key} is missing");
            };
            let Some(server) = self.server(id) else {
                panic!("after {after}: slot {index} of {key}: backend {id} is missing");
            };
            serving.insert(server);
        }
        serving
    }
}
