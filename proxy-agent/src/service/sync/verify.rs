//! The full comparison: the maps as they are against what they should hold, whoever changed them; and the
//! removal of what nobody wants.

use std::{collections::HashSet, time::Instant};

use proxy_common::backends::SlotKey;

use super::{Port, ServiceSync, lacking};
use crate::{
    datapath::table::TableError,
    model::Snapshot,
    service::{SyncReport, image::Image, plan::Step},
};

impl ServiceSync {
    /// Reads all maps, counts what is not as it was left, plans every Service anew and prunes.
    pub fn verify(&mut self, snapshot: &Snapshot) -> Result<SyncReport, TableError> {
        let mut report = SyncReport::default();
        if !self.started || !lacking(snapshot).is_empty() {
            return Ok(report);
        }
        let (actual, stray) = Image::read(&self.tables)?;
        report.drift = self.image.differences(&actual) + stray.len();
        if report.drift > 0 {
            tracing::warn!(
                entries = report.drift,
                "maps of Services were changed by somebody else"
            );
        }
        self.adopt(actual);
        self.remove_stray(&stray)?;
        self.mark_all(snapshot);
        self.locate(snapshot);
        self.run(snapshot, &mut report);
        if !snapshot.partial {
            self.prune(&mut report);
        }
        self.finish(&mut report);
        Ok(report)
    }

    /// Takes over what the maps hold.
    pub(super) fn adopt(&mut self, image: Image) {
        let [service, set, backend] = image.highest_ids();
        self.ids.service = self.ids.service.max(service);
        self.ids.set = self.ids.set.max(set);
        self.ids.backend = self.ids.backend.max(backend);
        let grace = self.image.grace();
        self.image = image;
        self.image.set_grace(grace);
        self.node_ports
            .recount(&self.image, &mut *self.tables.node_ports);
    }

    pub(super) fn remove_stray(&mut self, stray: &[SlotKey]) -> Result<(), TableError> {
        stray
            .iter()
            .try_for_each(|key| self.tables.slots.remove(key))
    }

    /// Removes what belongs to no Service. Only called when all lists are complete.
    pub(super) fn prune(&mut self, report: &mut SyncReport) {
        let ports = || self.ports.values().flatten();
        let services: HashSet<u32> = ports().map(|p| p.service).collect();
        let sets: HashSet<u32> = ports().flat_map(Port::sets).collect();
        let frontends = self.image.frontends();
        let frontends = frontends.filter(|(_, f)| !services.contains(&f.service));
        let removals: Vec<Step> = frontends
            .map(|(key, f)| Step::RemoveFrontend(key, f.service))
            .collect();
        let mut whole = true;
        for step in removals {
            if let Err(error) = self.step(&step, report) {
                tracing::debug!(%error, "pruning goes on later");
                whole = false;
            }
        }
        // A frontend that could not be removed still uses its set.
        let used: HashSet<u32> = self
            .image
            .frontends()
            .flat_map(|(_, f)| [f.internal.id, f.external.id])
            .collect();
        let now = Instant::now();
        let all: Vec<u32> = self.image.sets().collect();
        for set in all {
            if !sets.contains(&set) && !used.contains(&set) {
                self.image.done(&Step::Drop(set), now);
                self.image.look_at_slots(set, now);
            } else if self.image.slots(set).len() > self.image.used(set) {
                self.image.look_at_slots(set, now);
            }
        }
        let members: Vec<_> = self.image.members.keys().copied().collect();
        for key in members {
            if !self.image.slots(key.set).contains(&key.backend) || !sets.contains(&key.set) {
                self.image.look_at_member(key, now);
            }
        }
        let pools = self
            .image
            .pool4
            .idle_ids()
            .chain(self.image.pool6.idle_ids());
        let backends: Vec<u32> = pools.collect();
        for id in backends {
            self.image.look_at_backend(id, now);
        }
        self.pruned = whole;
    }
}
