//! What a batch of writes leaves to be done after it: flows of datagrams are told to compare themselves with their
//! Services, and affinity that has ended is forgotten.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    time::Instant,
};

use proxy_common::address::UDP;

use super::ServiceSync;
use crate::{
    datapath::table::TableError,
    service::{image::Image, plan::Step},
};

/// What is still to be done.
#[derive(Clone, Debug)]
pub(super) struct After {
    /// `SERVICE_EPOCH` is to be raised.
    raise: bool,
    /// Service ports that had affinity and may have none any more, and since when.
    ended: BTreeMap<u32, Instant>,
    /// Addresses whose frontends have changed.
    addresses: BTreeSet<IpAddr>,
    /// Affinity of whatever has none is to be forgotten, once all that nobody wants is gone.
    sweep: bool,
}

impl After {
    /// At the start: a former agent may have ended in the middle.
    pub(super) const fn start() -> Self {
        Self {
            raise: true,
            ended: BTreeMap::new(),
            addresses: BTreeSet::new(),
            sweep: true,
        }
    }

    /// Somebody else wrote: nobody knows what.
    pub(super) const fn disturbed(&mut self) {
        self.raise = true;
        self.sweep = true;
    }

    /// These may have other frontends than it is known.
    pub(super) fn look_at(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.addresses.extend(addresses);
    }

    /// Notes a step that is about to be noted in the image.
    pub(super) fn note(&mut self, step: &Step, image: &Image, now: Instant) {
        self.raise |= concerns_datagrams(step, image);
        let (key, still) = match step {
            Step::Frontend(key, new) => (key, (new.affinity_seconds != 0).then_some(new.service)),
            Step::RemoveFrontend(key, _) => (key, None),
            _ => return,
        };
        self.addresses.insert(key.address());
        let old = image.frontend(key).filter(|f| f.affinity_seconds != 0);
        if let Some(old) = old.filter(|old| still != Some(old.service)) {
            self.ended.insert(old.service, now);
        }
    }
}

fn concerns_datagrams(step: &Step, image: &Image) -> bool {
    match step {
        Step::Frontend(key, _) | Step::RemoveFrontend(key, _) => key.protocol() == UDP,
        Step::Member(key, _) | Step::RemoveMember(key) => {
            let v4 = image.pool4.get(key.backend).map(|b| b.protocol);
            let protocol = v4.or_else(|| image.pool6.get(key.backend).map(|b| b.protocol));
            protocol.is_none_or(|protocol| protocol == UDP)
        }
        _ => false,
    }
}

impl ServiceSync {
    /// Does it; what fails is done the next time. Gives when there is something left to do.
    pub(super) fn follow_up(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let raised = self.raise_epoch();
        let forgotten = self.forget_affinity(now);
        let told = self.tell_addresses();
        let first = self.after.ended.values().min();
        let mut due = first.map(|since| *since + self.image.grace());
        for error in [raised.err(), forgotten.err(), told.err()]
            .into_iter()
            .flatten()
        {
            tracing::warn!(%error, "tried again soon");
            due = Some(now + super::PRUNE_AGAIN);
        }
        due
    }

    fn raise_epoch(&mut self) -> Result<(), TableError> {
        if !self.after.raise {
            return Ok(());
        }
        let table = &mut self.tables.epoch;
        let epoch = table.get(&0)?.unwrap_or(0);
        table.set(&0, &epoch.wrapping_add(1))?;
        self.after.raise = false;
        Ok(())
    }

    /// Says which addresses are Services'. Gives the first failure.
    fn tell_addresses(&mut self) -> Result<(), TableError> {
        let addresses = std::mem::take(&mut self.after.addresses);
        // All of the node's are not a Service's.
        let addresses = addresses.into_iter().filter(|ip| !ip.is_unspecified());
        let wanted: Vec<(IpAddr, u32)> = addresses.map(|ip| (ip, self.image.vip(ip))).collect();
        let vips = &mut self.image.vips;
        let (missed, result) = vips.write(&mut self.tables, wanted.into_iter());
        self.after.addresses.extend(missed);
        result
    }

    /// Programs that have read the frontend before it changed may note affinity for a little longer.
    fn forget_affinity(&mut self, now: Instant) -> Result<(), TableError> {
        let grace = self.image.grace();
        let sweep = self.after.sweep && self.pruned;
        let rested = |since: &Instant| now.saturating_duration_since(*since) >= grace;
        if !sweep && !self.after.ended.values().any(rested) {
            return Ok(());
        }
        let frontends = self.image.frontends().map(|(_, frontend)| frontend);
        let affine = frontends.filter(|f| f.affinity_seconds != 0);
        let affine: HashSet<u32> = affine.map(|f| f.service).collect();
        let ended = &self.after.ended;
        let is_over = |service: u32| {
            !affine.contains(&service) && (sweep || ended.get(&service).is_some_and(rested))
        };
        for (key, _) in self.tables.affinity.entries()? {
            if is_over(key.service) {
                self.tables.affinity.remove(&key)?;
            }
        }
        self.after.ended.retain(|_, since| !rested(since));
        self.after.sweep &= !sweep;
        Ok(())
    }
}
