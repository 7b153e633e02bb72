//! What is done where a map has no room for all that is wanted: the policies that give way, and when they are tried again.

use std::{
    collections::HashSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::PolicyEngine;
use crate::{
    policy::{
        PolicyError,
        effective::Room,
        plan::{Change, Plan},
    },
    subject::growth::InVain,
};

impl PolicyEngine {
    /// Maps grow when the report wants it, but for these.
    pub fn set_in_vain(&mut self, in_vain: InVain) {
        self.in_vain = Some(in_vain);
    }

    /// Plans what is wanted; if that does not fit, the most of it that does. None if all is to stay as it is.
    pub(super) fn fit(
        &mut self,
        now: Instant,
        all: bool,
        dirty: HashSet<IpAddr>,
    ) -> Result<Option<(Change, Plan)>, PolicyError> {
        let room = self.room();
        let planned = self.wish(all, dirty);
        let Err(error) = planned else {
            if self.effective.refused.is_empty() && self.effective.waiting.is_empty() {
                self.back_off.end();
            }
            return planned.map(Some);
        };
        if !error.is_want_of_room() {
            return Err(error);
        }
        let (want, planned) = self.give_way(now, &error)?;
        if planned.is_none() {
            self.standstill.begin(now, &want.why);
            self.wanted = None;
        }
        self.back_off.note(now, room, want);
        Ok(planned)
    }

    /// Whether policies that were refused, or wait, are to be tried again; then they count again.
    pub(super) fn retry(&mut self, now: Instant) -> bool {
        let due = self.back_off.is_due(now, self.room()) || self.is_out_of_patience(now);
        if due {
            self.effective.readmit();
            self.wanted = None;
        }
        due
    }

    /// Whether a policy has waited long enough, or does so in vain.
    fn is_out_of_patience(&self, now: Instant) -> bool {
        let waiting = self.effective.waiting.keys();
        let until = self.waits.until(waiting);
        until.is_some_and(|until| {
            now >= until || !self.may_grow(self.back_off.wanting().into_keys())
        })
    }

    /// When patience ends.
    pub(super) fn patience(&self, now: Instant) -> Option<Duration> {
        let until = self.waits.until(self.effective.waiting.keys());
        let waits = until.map(|until| until.saturating_duration_since(now));
        waits.into_iter().chain(self.standstill.due(now)).min()
    }

    /// Whether all of these maps may still grow.
    pub(super) fn may_grow<'a>(&self, maps: impl IntoIterator<Item = &'a str>) -> bool {
        let in_vain = self.in_vain.as_ref();
        in_vain.is_some_and(|in_vain| maps.into_iter().all(|map| !in_vain.contains(map)))
    }

    pub(super) fn wish(
        &mut self,
        all: bool,
        dirty: HashSet<IpAddr>,
    ) -> Result<(Change, Plan), PolicyError> {
        let change = self.desire(all, dirty);
        let plan = self.plan(&change)?;
        Ok((change, plan))
    }

    /// How much more the maps can hold.
    pub(super) fn room(&self) -> Room {
        let (cells, all_cells) = self.rows.usage();
        let (blocks, all_blocks) = self.lists.usage();
        let cidrs = self.kernel.cidr_room(&self.reclaim);
        Room {
            cells: all_cells - cells,
            blocks: all_blocks - blocks,
            cidrs: [false, true].map(|ipv6| {
                let there = self.kernel.cidrs.of_family(ipv6) as u32;
                cidrs[usize::from(ipv6)].saturating_sub(there)
            }),
        }
    }
}
