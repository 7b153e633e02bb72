//! Writes what the plans of a crowd add: map by map, many entries at a time.

use std::fmt::Debug;

use proxy_common::{
    backends::{Backend4, Backend6, MemberKey, SlotKey},
    frontends::{Frontend, FrontendKey4, FrontendKey6},
    sources::{SOURCE_ALLOWED, SourceKey4, SourceKey6},
};

use super::{Member, Plan, Step};
use crate::{
    datapath::{
        prefix::Prefix,
        table::{SharedTable, Table},
    },
    service::{ServiceTables, key::FrontendKey, sources::Source},
};

/// Handles of the maps that plans add to.
pub(super) struct PlanTables {
    frontends4: Box<dyn SharedTable<FrontendKey4, Frontend>>,
    frontends6: Box<dyn SharedTable<FrontendKey6, Frontend>>,
    backends4: Box<dyn SharedTable<u32, Backend4>>,
    backends6: Box<dyn SharedTable<u32, Backend6>>,
    slots: Box<dyn SharedTable<SlotKey, u32>>,
    members: Box<dyn SharedTable<MemberKey, u32>>,
    sources4: Box<dyn SharedTable<Prefix<SourceKey4>, u32>>,
    sources6: Box<dyn SharedTable<Prefix<SourceKey6>, u32>>,
}

impl PlanTables {
    /// Handles beside those of the one who settles.
    pub(super) fn of(tables: &ServiceTables) -> Self {
        Self {
            frontends4: tables.frontends4.share(),
            frontends6: tables.frontends6.share(),
            backends4: tables.backends4.share(),
            backends6: tables.backends6.share(),
            slots: tables.slots.share(),
            members: tables.members.share(),
            sources4: tables.sources4.share(),
            sources6: tables.sources6.share(),
        }
    }

    /// Carries the plans out. Phases are as in a plan alone, so that each state on the way is a valid one for each of them.
    pub(super) fn write(&mut self, members: &mut [Member]) {
        let backends: Phase = |plan| &plan.backends;
        write(members, &mut *self.backends4, backends, backend4);
        write(members, &mut *self.backends6, backends, backend6);
        write(members, &mut *self.slots, |plan| &plan.appends, slot);
        write(members, &mut *self.members, |plan| &plan.members, member);
        let sources: Phase = |plan| &plan.sources;
        write(members, &mut *self.sources4, sources, source4);
        write(members, &mut *self.sources6, sources, source6);
        let frontends: Phase = |plan| &plan.frontends;
        write(members, &mut *self.frontends4, frontends, frontend4);
        write(members, &mut *self.frontends6, frontends, frontend6);
    }
}

/// Steps of a plan.
type Phase = fn(&Plan) -> &[Step];

/// Writes what one phase has for one map. Whose write fails has no more done; the others go on.
fn write<K, V>(
    members: &mut [Member],
    table: &mut dyn Table<K, V>,
    phase: Phase,
    entry: impl Fn(&Step) -> Option<(K, V)>,
) where
    K: Copy + Ord + Debug,
    V: Copy + PartialEq + Debug,
{
    let (mut whose, mut entries, mut map) = (Vec::new(), Vec::new(), None);
    for (index, member) in members
        .iter()
        .enumerate()
        .filter(|(_, m)| m.error.is_none())
    {
        for step in phase(&member.planned.resolved.plan) {
            if let Some(entry) = entry(step) {
                map = step.map();
                whose.push(index);
                entries.push(entry);
            }
        }
    }
    let Some(map) = map else {
        return;
    };
    let mut at = 0;
    while at < entries.len() {
        let (written, result) = table.set_all(&entries[at..]);
        for index in &whose[at..at + written] {
            members[*index].written[map] += 1;
        }
        at += written;
        if let (Err(error), Some(index)) = (result, whose.get(at).copied()) {
            members[index].error = Some(error);
            at += whose[at..].iter().take_while(|of| **of == index).count();
        }
    }
}

const fn backend4(step: &Step) -> Option<(u32, Backend4)> {
    match step {
        Step::Backend4(id, value) => Some((*id, *value)),
        _ => None,
    }
}

const fn backend6(step: &Step) -> Option<(u32, Backend6)> {
    match step {
        Step::Backend6(id, value) => Some((*id, *value)),
        _ => None,
    }
}

pub(super) const fn slot(step: &Step) -> Option<(SlotKey, u32)> {
    match step {
        Step::Slot(key, id) => Some((*key, *id)),
        _ => None,
    }
}

const fn member(step: &Step) -> Option<(MemberKey, u32)> {
    match step {
        Step::Member(key, slot) => Some((*key, *slot)),
        _ => None,
    }
}

const fn source4(step: &Step) -> Option<(Prefix<SourceKey4>, u32)> {
    match step {
        Step::Source(Source::V4(key)) => Some((*key, SOURCE_ALLOWED)),
        _ => None,
    }
}

const fn source6(step: &Step) -> Option<(Prefix<SourceKey6>, u32)> {
    match step {
        Step::Source(Source::V6(key)) => Some((*key, SOURCE_ALLOWED)),
        _ => None,
    }
}

const fn frontend4(step: &Step) -> Option<(FrontendKey4, Frontend)> {
    match step {
        Step::Frontend(FrontendKey::V4(key), value) => Some((*key, *value)),
        _ => None,
    }
}

const fn frontend6(step: &Step) -> Option<(FrontendKey6, Frontend)> {
    match step {
        Step::Frontend(FrontendKey::V6(key), value) => Some((*key, *value)),
        _ => None,
    }
}
