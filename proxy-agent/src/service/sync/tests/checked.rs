//! Maps that look at all of themselves after each write.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex},
};

use proxy_common::{
    backends::{MemberKey, SlotKey},
    frontends::{BackendSet, FLAG_MEMBERS, Frontend},
};

use crate::{
    datapath::{
        memory_table::MemoryTable,
        table::{Table, TableError},
    },
    model::Snapshot,
    service::{
        MemoryMaps, ServiceTables,
        desired::{self, DesiredPort, Scope},
        key::FrontendKey,
        pool::{server4, server6},
    },
};

/// Addresses of backends; the empty set stands for "nobody".
type Serving = BTreeSet<String>;

/// The maps, and what each frontend may lead to.
#[derive(Clone)]
pub(super) struct World {
    pub(super) maps: MemoryMaps,
    allowed: Arc<Mutex<Allowed>>,
}

/// What the frontends' sets may hold: those of the last settled state and of all states since.
#[derive(Default)]
struct Allowed {
    sets: BTreeMap<FrontendKey, Vec<[Serving; 2]>>,
    /// Which sets of its port a frontend refers to until it is written anew or removed.
    scopes: BTreeMap<FrontendKey, [Scope; 2]>,
}

/// A table that has its world checked after each write.
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
        self.world
            .check(&format!("{} {key:?} = {value:?}", self.name()));
        Ok(())
    }

    fn remove(&mut self, key: &K) -> Result<(), TableError> {
        self.table.remove(key)?;
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
        }
    }

    fn checked<K, V>(&self, table: &MemoryTable<K, V>) -> Box<dyn Table<K, V>>
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
        for (key, (_, sets)) in wanted(snapshot) {
            allowed.sets.entry(key).or_default().push(sets);
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
        let scopes = wanted
            .iter()
            .map(|(k, (scopes, _))| (*k, *scopes))
            .collect();
        let sets = wanted.into_iter().map(|(k, (_, sets))| (k, vec![sets]));
        *self.allowed.lock().unwrap() = Allowed {
            sets: sets.collect(),
            scopes,
        };
        self.check("settled");
        for (key, frontend) in self.frontends() {
            self.check_members(&key, &frontend);
        }
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
        for (key, frontend) in self.frontends() {
            let states = allowed.sets.get(&key);
            let states = states.unwrap_or_else(|| panic!("after {after}: {key} is unexpected"));
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
            }
        }
    }

    fn serving(&self, key: &FrontendKey, set: BackendSet, after: &str) -> Serving {
        let mut serving = Serving::new();
        for index in 0..set.count {
            let slot = SlotKey { set: set.id, index };
            let Some(id) = self.maps.slots.get(&slot).unwrap() else {
                panic!("after {after}: slot {index} of {key} is missing");
            };
            let v4 = self.maps.backends4.get(&id).unwrap().map(|b| server4(&b));
            let v6 = self.maps.backends6.get(&id).unwrap().map(|b| server6(&b));
            let Some(server) = v4.or(v6) else {
                panic!("after {after}: slot {index} of {key}: backend {id} is missing");
            };
            serving.insert(server.address.to_string());
        }
        serving
    }

    /// `BACKEND_MEMBERS` says of each slot's backend where it is.
    fn check_members(&self, key: &FrontendKey, frontend: &Frontend) {
        for set in [frontend.internal, frontend.external] {
            let members = self.maps.members.entries().unwrap();
            let members = members.iter().filter(|(k, _)| k.set == set.id);
            if frontend.flags & FLAG_MEMBERS == 0 {
                assert_eq!(members.count(), 0, "{key} keeps members");
                continue;
            }
            assert_eq!(members.count(), set.count as usize, "members of {key}");
            for index in 0..set.count {
                let slot = SlotKey { set: set.id, index };
                let backend = self.maps.slots.get(&slot).unwrap().unwrap();
                let member = MemberKey {
                    set: set.id,
                    backend,
                };
                assert_eq!(
                    self.maps.members.get(&member).unwrap(),
                    Some(index),
                    "{key}"
                );
            }
        }
    }
}

/// All Service ports with the numbers of their Services.
fn ports(snapshot: &Snapshot) -> Vec<(usize, DesiredPort)> {
    let mut ports = Vec::new();
    for (name, service) in &snapshot.services {
        let number: usize = name.name().trim_start_matches("service").parse().unwrap();
        let slices = snapshot.slices_of(name);
        let desired = desired::service(service, slices, None);
        ports.extend(desired.into_iter().map(|port| (number, port)));
    }
    ports
}

fn serving(port: &DesiredPort, scope: Scope) -> Serving {
    let servers = match scope {
        Scope::Cluster => &port.choice.cluster,
        Scope::Local => &port.choice.local,
    };
    servers.iter().map(|s| s.address.to_string()).collect()
}

/// What each frontend refers to, and who serves there.
fn wanted(snapshot: &Snapshot) -> BTreeMap<FrontendKey, ([Scope; 2], [Serving; 2])> {
    let mut wanted = BTreeMap::new();
    for (_, port) in ports(snapshot) {
        for frontend in &port.frontends {
            let scopes = [frontend.internal, frontend.external];
            wanted.insert(frontend.key, (scopes, scopes.map(|s| serving(&port, s))));
        }
    }
    wanted
}
