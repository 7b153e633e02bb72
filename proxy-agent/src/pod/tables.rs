//! The maps that endpoints are written to.

use std::{collections::BTreeMap, time::Duration};

use proxy_common::{
    address::{Address4, Address6},
    endpoints::Endpoint,
    sockets::Client,
};

use super::{entries::Entries, restore::Pinned};
use crate::{
    datapath::{
        Kept, Mended, Mirror, Round, clock,
        flows::{Flows, is_pod},
        maps::Maps,
        table::{Table, TableError},
    },
    subject::Verified,
};

/// How long a write counts that was refused and is not wanted any more, because its ADD was refused: the runtime asks again
/// before that, if the pod is still wanted.
const LATELY: Duration = Duration::from_mins(5);

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

/// The mirrors of these maps.
pub(super) struct PodMirrors {
    endpoints: Mirror<u32, Endpoint>,
    interfaces: Mirror<u32, u32>,
    clients: Mirror<u64, Client>,
    local4: Mirror<Address4, u32>,
    local6: Mirror<Address6, u32>,
    round: Round,
    /// Something could not be compared or set right in this round.
    failed: bool,
    flows: [Flows; 2],
}

impl PodMirrors {
    /// Begins with what the maps hold.
    pub(super) fn open(tables: PodTables) -> Result<Self, TableError> {
        Ok(Self {
            endpoints: Mirror::open(tables.endpoints)?,
            interfaces: Mirror::open(tables.interfaces)?,
            clients: Mirror::open(tables.clients)?,
            local4: Mirror::open(tables.local4)?,
            local6: Mirror::open(tables.local6)?,
            round: Round::default(),
            failed: false,
            flows: tables.flows,
        })
    }

    /// What is written of endpoints.
    pub(super) const fn pinned(&self) -> Pinned<'_> {
        Pinned {
            endpoints: self.endpoints.written(),
            clients: self.clients.written(),
        }
    }

    /// Makes the maps hold these entries and no others; returns how many writes it took. Endpoints come
    /// before the interfaces and addresses that lead to them and go after them. Goes on after a failure and returns the
    /// first.
    pub(super) fn reconcile(&mut self, desired: &Entries) -> Result<usize, TableError> {
        let results = [
            self.insert(desired),
            self.local4.retain(&desired.local4),
            self.local6.retain(&desired.local6),
            self.clients.retain(&desired.clients),
            self.interfaces.retain(&desired.interfaces),
            self.endpoints.retain(&desired.endpoints),
        ];
        results.into_iter().sum()
    }

    /// Writes these entries; other ones stay.
    pub(super) fn insert(&mut self, entries: &Entries) -> Result<usize, TableError> {
        let results = [
            self.endpoints.insert(&entries.endpoints),
            self.interfaces.insert(&entries.interfaces),
            self.clients.insert(&entries.clients),
            self.local4.insert(&entries.local4),
            self.local6.insert(&entries.local6),
        ];
        results.into_iter().sum()
    }

    /// Removes the entries of an endpoint that is gone, except keys that another has by now. Goes on after a
    /// failure and returns the first.
    pub(super) fn remove(
        &mut self,
        gone: &Entries,
        desired: &Entries,
    ) -> Result<usize, TableError> {
        let results = [
            self.local4
                .remove(gone_for_good(&gone.local4, &desired.local4)),
            self.local6
                .remove(gone_for_good(&gone.local6, &desired.local6)),
            self.clients
                .remove(gone_for_good(&gone.clients, &desired.clients)),
            self.interfaces
                .remove(gone_for_good(&gone.interfaces, &desired.interfaces)),
            self.endpoints
                .remove(gone_for_good(&gone.endpoints, &desired.endpoints)),
        ];
        results.into_iter().sum()
    }

    fn mirrors(&mut self) -> [&mut dyn Kept; 5] {
        let Self {
            endpoints,
            interfaces,
            clients,
            local4,
            local6,
            ..
        } = self;
        [endpoints, interfaces, clients, local4, local6]
    }

    /// What the kernel did not take lately.
    pub(super) fn refused(&self) -> Option<&str> {
        let refused = [
            self.endpoints.refused(),
            self.interfaces.refused(),
            self.clients.refused(),
            self.local4.refused(),
            self.local6.refused(),
        ];
        refused.into_iter().flatten().next()
    }

    /// Compares about so many entries more, and sets right what somebody else changed. Goes on after a failure, and tells it in
    /// the end.
    pub(super) fn verify(&mut self, budget: usize) -> Verified {
        let mut round = std::mem::take(&mut self.round);
        let mut mirrors = self.mirrors();
        for mirror in &mut mirrors {
            mirror.forgive(LATELY);
        }
        let (Mended { entries, failed }, done) = round.next(&mut mirrors, budget);
        self.round = round;
        if let Some(error) = failed {
            tracing::warn!(%error, "maps of endpoints not in step with what was written");
            self.failed = true;
        }
        match done {
            false => Verified::More(entries),
            true if std::mem::take(&mut self.failed) => Verified::Failed(entries),
            true => Verified::Done(entries),
        }
    }

    /// Ends the flows of which one end is a pod of this node whose id is `gone`.
    pub(super) fn end_flows(&self, gone: impl Fn(u32) -> bool) {
        let now = clock::seconds();
        let gone = |end: &u16| is_pod(*end) && gone(u32::from(*end));
        for flows in &self.flows {
            flows.end_where(now, |flow| flow.endpoint.iter().any(gone));
        }
    }
}

/// Keys that nobody else has by now.
fn gone_for_good<K: Copy + Ord, V>(
    gone: &BTreeMap<K, V>,
    desired: &BTreeMap<K, V>,
) -> impl Iterator<Item = K> {
    gone.keys()
        .filter(|key| !desired.contains_key(key))
        .copied()
}
