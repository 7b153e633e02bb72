//! What has happened between two looks, counted by Service port, by pod, by reason.

use std::collections::{BTreeMap, BTreeSet};

use proxy_common::counters::Counter;

use super::sample::{Brief, Sample, Slots};

/// What was counted of some flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Flows that have begun.
    pub begun: u64,
    /// Flows that are over since.
    pub ended: u64,
    /// Flows that live.
    pub live: u64,
    /// Of these, those in which both sides speak.
    pub established: u64,
}

impl Count {
    const fn add(&mut self, other: Self) {
        self.begun += other.begun;
        self.ended += other.ended;
        self.live += other.live;
        self.established += other.established;
    }

    /// Whether there is anything to tell.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Flows of a Service port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfService {
    /// Those whose packets ask for it.
    pub asked: Count,
    /// Those that go straight to one of its backends.
    pub straight: Count,
}

/// Flows of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfPod {
    /// All; a flow to itself once.
    pub all: Count,
    /// Those that have begun and that it began.
    pub asked: u64,
    /// Those that have begun and that it serves.
    pub served: u64,
}

/// What was dropped for a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfReason {
    /// Between the looks.
    pub lately: Counter,
    /// Ever.
    pub ever: Counter,
}

/// A flow, and what it counts for.
type Event = (Brief, Count);

/// Id of a Service port, and the family of its flows as [`Sample`] numbers them.
pub type Half = (u32, usize);

/// By Service port and family. `users` are those of each backend.
pub fn by_service(
    before: &Sample,
    after: &Sample,
    users: &BTreeMap<u32, BTreeSet<u32>>,
) -> BTreeMap<Half, OfService> {
    let mut counts: BTreeMap<Half, OfService> = BTreeMap::new();
    for (family, (flow, count)) in events(before, after) {
        if flow.service != 0 {
            let half = (flow.service, family);
            counts.entry(half).or_default().asked.add(count);
        }
        let straight = users.get(&flow.straight).into_iter().flatten();
        for service in straight {
            let half = (*service, family);
            counts.entry(half).or_default().straight.add(count);
        }
    }
    counts.retain(|_, count| !count.asked.is_empty() || !count.straight.is_empty());
    counts
}

/// By endpoint: the pods of this node, and the node itself.
pub fn by_pod(before: &Sample, after: &Sample) -> BTreeMap<u16, OfPod> {
    let mut counts: BTreeMap<u16, OfPod> = BTreeMap::new();
    for (_, (flow, count)) in events(before, after) {
        let [client, server] = flow.ends;
        for end in BTreeSet::from([client, server]) {
            counts.entry(end).or_default().all.add(count);
        }
        counts.entry(client).or_default().asked += count.begun;
        counts.entry(server).or_default().served += count.begun;
    }
    // Whoever is not on this node.
    counts.remove(&0);
    counts.retain(|_, count| !count.all.is_empty());
    counts
}

/// By reason: those for which anything was ever dropped.
pub fn by_reason(before: &Sample, after: &Sample) -> BTreeMap<u32, OfReason> {
    let reasons = after.drops.iter().filter(|(_, ever)| ever.packets > 0);
    let of = |(reason, ever): (&u32, &Counter)| {
        let then = before.drops.get(reason).copied().unwrap_or_default();
        let lately = Counter {
            packets: ever.packets.saturating_sub(then.packets),
            bytes: ever.bytes.saturating_sub(then.bytes),
        };
        let ever = *ever;
        (*reason, OfReason { lately, ever })
    };
    reasons.map(of).collect()
}

/// All flows that are there, or were, with the number of their family.
fn events<'a>(before: &'a Sample, after: &'a Sample) -> impl Iterator<Item = (usize, Event)> {
    let families = before.slots.iter().zip(&after.slots).enumerate();
    families.flat_map(|(family, (before, after))| {
        // In other maps flows are in other slots: what has happened is not known.
        let before = if before.map == after.map {
            before
        } else {
            after
        };
        of_family(before, after).map(move |event| (family, event))
    })
}

fn of_family<'a>(before: &'a Slots, after: &'a Slots) -> impl Iterator<Item = Event> {
    let slots = before.flows.iter().zip(&after.flows);
    slots.flat_map(|(then, now)| {
        let is_same = then.map(|flow| flow.generation) == now.map(|flow| flow.generation);
        let gone = then.filter(|_| !is_same).filter(|flow| flow.live);
        let gone = gone.map(|flow| {
            let count = Count {
                ended: 1,
                ..Count::default()
            };
            (flow, count)
        });
        let lived = !is_same || then.is_some_and(|flow| flow.live);
        let here = now.map(|flow| {
            let count = Count {
                begun: (!is_same).into(),
                ended: (lived && !flow.live).into(),
                live: flow.live.into(),
                established: flow.established.into(),
            };
            (flow, count)
        });
        gone.into_iter().chain(here)
    })
}

#[cfg(test)]
mod tests;
