//! The maps that endpoints are written to.

use std::{collections::BTreeMap, fmt::Debug};

use proxy_common::{
    address::{Address4, Address6},
    endpoints::Endpoint,
    sockets::Client,
};

use super::entries::Entries;
use crate::datapath::{
    clock,
    flows::{Flows, is_pod},
    maps::Maps,
    table::{Table, TableError},
};

/// `ENDPOINTS`, and the maps that lead there. [`Pods`](super::Pods) is their single writer.
pub struct PodTables {
    /// `ENDPOINTS`.
    pub endpoints: Box<dyn Table<u32, Endpoint>>,
    /// `INTERFACES`.
    pub interfaces: Box<dyn Table<u32, u32>>,
    /// `CLIENTS`.
    pub clients: Box<dyn Table<u64, Client>>,
    /// `LOCAL_PODS4`.
    pub local4: Box<dyn Table<Address4, u32>>,
    /// `LOCAL_PODS6`.
    pub local6: Box<dyn Table<Address6, u32>>,
    /// `FLOWS4` and `FLOWS6`, which the programs write.
    pub flows: [Flows; 2],
}

impl From<&Maps> for PodTables {
    fn from(maps: &Maps) -> Self {
        Self {
            endpoints: Box::new(maps.endpoints.clone()),
            interfaces: Box::new(maps.interfaces.clone()),
            clients: Box::new(maps.clients.clone()),
            local4: Box::new(maps.local_pods4.clone()),
            local6: Box::new(maps.local_pods6.clone()),
            flows: maps.flows().map(Clone::clone),
        }
    }
}

impl PodTables {
    /// Makes the maps hold these entries and no others; returns how many writes it took. Endpoints come
    /// before the interfaces and addresses that lead to them and go after them. Goes on after a failure and returns the
    /// first.
    pub fn reconcile(&mut self, desired: &Entries) -> Result<usize, TableError> {
        let results = [
            set_missing(&mut *self.endpoints, &desired.endpoints),
            set_missing(&mut *self.interfaces, &desired.interfaces),
            set_missing(&mut *self.clients, &desired.clients),
            set_missing(&mut *self.local4, &desired.local4),
            set_missing(&mut *self.local6, &desired.local6),
            remove_stale(&mut *self.local4, &desired.local4),
            remove_stale(&mut *self.local6, &desired.local6),
            remove_stale(&mut *self.clients, &desired.clients),
            remove_stale(&mut *self.interfaces, &desired.interfaces),
            remove_stale(&mut *self.endpoints, &desired.endpoints),
        ];
        results.into_iter().sum()
    }
}

impl PodTables {
    /// Writes these entries; other ones stay.
    pub fn insert(&mut self, entries: &Entries) -> Result<usize, TableError> {
        let results = [
            set_missing(&mut *self.endpoints, &entries.endpoints),
            set_missing(&mut *self.interfaces, &entries.interfaces),
            set_missing(&mut *self.clients, &entries.clients),
            set_missing(&mut *self.local4, &entries.local4),
            set_missing(&mut *self.local6, &entries.local6),
        ];
        results.into_iter().sum()
    }

    /// Removes the entries of an endpoint that is gone, except keys that another has by now. Goes on after a
    /// failure and returns the first.
    pub fn remove(&mut self, gone: &Entries, desired: &Entries) -> Result<(), TableError> {
        let results = [
            remove_gone(&mut *self.local4, &gone.local4, &desired.local4),
            remove_gone(&mut *self.local6, &gone.local6, &desired.local6),
            remove_gone(&mut *self.clients, &gone.clients, &desired.clients),
            remove_gone(&mut *self.interfaces, &gone.interfaces, &desired.interfaces),
            remove_gone(&mut *self.endpoints, &gone.endpoints, &desired.endpoints),
        ];
        results.into_iter().collect()
    }

    /// Ends the flows of which one end is a pod of this node whose id is `gone`.
    pub fn end_flows(&self, gone: impl Fn(u32) -> bool) {
        let now = clock::seconds();
        let gone = |end: &u16| is_pod(*end) && gone(u32::from(*end));
        for flows in &self.flows {
            flows.end_where(now, |flow| flow.endpoint.iter().any(gone));
        }
    }
}

fn remove_gone<K, V>(
    table: &mut dyn Table<K, V>,
    gone: &BTreeMap<K, V>,
    desired: &BTreeMap<K, V>,
) -> Result<(), TableError>
where
    K: Copy + Ord + Debug,
    V: Copy + PartialEq + Debug,
{
    gone.keys()
        .filter(|key| !desired.contains_key(key))
        .map(|key| table.remove(key))
        .fold(Ok(()), Result::and)
}

fn set_missing<K, V>(
    table: &mut dyn Table<K, V>,
    desired: &BTreeMap<K, V>,
) -> Result<usize, TableError>
where
    K: Copy + Ord + Debug,
    V: Copy + PartialEq + Debug,
{
    let mut writes = 0;
    let mut first = Ok(());
    for (key, value) in desired {
        if table.get(key)? == Some(*value) {
            continue;
        }
        match table.set(key, value) {
            Ok(()) => writes += 1,
            Err(e) => first = first.and(Err(e)),
        }
    }
    first.map(|()| writes)
}

fn remove_stale<K, V>(
    table: &mut dyn Table<K, V>,
    desired: &BTreeMap<K, V>,
) -> Result<usize, TableError>
where
    K: Copy + Ord + Debug,
    V: Copy + PartialEq + Debug,
{
    let mut writes = 0;
    let mut first = Ok(());
    for (key, _) in table.entries()? {
        if desired.contains_key(&key) {
            continue;
        }
        match table.remove(&key) {
            Ok(()) => writes += 1,
            Err(e) => first = first.and(Err(e)),
        }
    }
    first.map(|()| writes)
}
