//! Frontends that go from one Service to another.

use std::collections::BTreeMap;

use super::ServiceSync;
use crate::{
    model::Snapshot,
    service::{Owner, desired, key::FrontendKey},
};

impl ServiceSync {
    /// Those of the waiting who take over frontends that others have, and these. They come first: what such a frontend leads to
    /// is then still what it was, or what it shall be, never what the other one makes of its sets meanwhile; nor is it missing.
    pub(super) fn takers(&self, snapshot: &Snapshot) -> BTreeMap<Owner, Vec<FrontendKey>> {
        let alone = self.pending.is_empty() || self.pending.len() + self.failed.len() < 2;
        if alone || self.image.frontend_counts() == (0, 0) {
            return BTreeMap::new();
        }
        let waiting = self.pending.keys().chain(self.failed.keys());
        waiting
            .map(|owner| (owner.clone(), self.takes_over(owner, snapshot)))
            .filter(|(_, frontends)| !frontends.is_empty())
            .collect()
    }

    /// What somebody wants and others have.
    fn takes_over(&self, owner: &Owner, snapshot: &Snapshot) -> Vec<FrontendKey> {
        let Owner::Service(name) = owner else {
            return Vec::new();
        };
        let Some(service) = snapshot.services.get(name) else {
            return Vec::new();
        };
        let own = self.ports.get(owner).map_or(&[][..], |ports| ports);
        // Endpoints are of no interest here.
        let desired = desired::service(service, &[], &self.place);
        let keys = desired
            .iter()
            .flat_map(|port| &port.frontends)
            .map(|f| f.key);
        keys.filter(|key| {
            let live = self.image.frontend(key);
            live.is_some_and(|live| own.iter().all(|port| port.service != live.service))
        })
        .collect()
    }
}
