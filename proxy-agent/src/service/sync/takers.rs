//! Frontends that go from one Service to another.

use super::ServiceSync;
use crate::{
    model::Snapshot,
    service::{Owner, desired},
};

impl ServiceSync {
    /// Those of the waiting who take over a frontend that another one has. They come first: what it leads to is then still
    /// what it was, or what it shall be, never what the other one makes of its sets meanwhile; nor is it missing.
    pub(super) fn takers(&self, snapshot: &Snapshot) -> Vec<Owner> {
        if self.pending.len() < 2 {
            return Vec::new();
        }
        let waiting = self.pending.keys();
        waiting
            .filter(|owner| self.takes_over(owner, snapshot))
            .cloned()
            .collect()
    }

    fn takes_over(&self, owner: &Owner, snapshot: &Snapshot) -> bool {
        let Owner::Service(name) = owner else {
            return false;
        };
        let Some(service) = snapshot.services.get(name) else {
            return false;
        };
        let own = self.ports.get(owner).map_or(&[][..], |ports| ports);
        // Endpoints are of no interest here.
        let desired = desired::service(service, &[], &self.place);
        let mut frontends = desired.iter().flat_map(|port| &port.frontends);
        frontends.any(|frontend| {
            let live = self.image.frontend(&frontend.key);
            live.is_some_and(|live| own.iter().all(|port| port.service != live.service))
        })
    }
}
