//! Maglev tables: who wants which, and what becomes of those that are built.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, Instant},
};

use proxy_common::maglev::chunks;

use super::{
    ServiceSync,
    turn::{BACKOFF_MAX, BACKOFF_MIN},
};
use crate::{
    datapath::table::TableError,
    model::Stamp,
    service::{
        Owner, SyncReport,
        maglev::{
            Builder,
            build::Backend,
            builder::{Built, Order},
            has_table,
            tables::TableId,
        },
        pool::{server4, server6},
    },
    subject::Room,
};

/// Tables that one turn writes at most: some milliseconds.
const TABLES_A_TURN: usize = 32;
/// How soon what is being built is asked for.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// The tables of all sets.
#[derive(Debug, Default)]
pub(super) struct Maglev {
    /// Places of a table; 0 is no tables.
    size: u16,
    builder: Builder,
    wanted: BTreeMap<u32, Want>,
    /// Who wants tables, and for which sets.
    owners: BTreeMap<Owner, Box<[u32]>>,
    /// Tables that may be wanted no more, and since when.
    loose: VecDeque<(Instant, TableId)>,
    /// There may be room now.
    freed: bool,
}

/// A set that shall have a table.
#[derive(Debug)]
struct Want {
    owner: Owner,
    /// What the last order was of.
    ordered: u64,
    /// How often the kernel did not take it.
    refused: u32,
    lacks: Lack,
}

/// What a table lacks.
#[derive(Debug)]
enum Lack {
    Nothing,
    /// So many chunks.
    Room(u32),
    /// The kernel did not take it.
    Write(String, Instant),
}

impl ServiceSync {
    /// Chooses by tables of so many places, a prime, for what comes from outside. Without this it is done at random.
    #[must_use]
    pub fn with_maglev(mut self, size: u16, builder: Builder) -> Self {
        self.maglev.size = size;
        self.maglev.builder = builder;
        self
    }

    /// Places of the table to which a frontend is led whose set has so many backends; 0 is none.
    pub(super) fn table_of(&self, set: u32, backends: usize) -> u32 {
        let size = self.maglev.size;
        if has_table(size, backends) && self.image.maglev.is_whole((set, size)) {
            u32::from(size)
        } else {
            0
        }
    }

    /// The sets of an owner are as they shall be: what tables they want.
    pub(super) fn want_tables(&mut self, owner: &Owner) {
        let size = self.maglev.size;
        let ports = self.ports.get(owner).into_iter().flatten();
        let sets = ports.map(|port| port.outside).filter(|set| *set != 0);
        let sets: BTreeSet<u32> = sets.collect();
        let wants = |set: &u32| has_table(size, self.image.used(*set));
        let sets: Box<[u32]> = sets.into_iter().filter(wants).collect();
        let before = self.maglev.owners.remove(owner).unwrap_or_default();
        for set in before.iter().filter(|set| !sets.contains(set)) {
            self.maglev.wanted.remove(set);
            self.maglev.loose.push_back((Instant::now(), (*set, size)));
        }
        for set in &sets {
            let want = self.maglev.wanted.entry(*set).or_insert_with(|| Want {
                owner: owner.clone(),
                ordered: 0,
                refused: 0,
                lacks: Lack::Nothing,
            });
            want.owner = owner.clone();
            self.order(*set);
        }
        if !sets.is_empty() {
            self.maglev.owners.insert(owner.clone(), sets);
        }
    }

    /// Orders the table of a set, unless it is there or ordered.
    fn order(&mut self, set: u32) {
        let size = self.maglev.size;
        let slots = self.image.slots(set);
        let slots = &slots[..self.image.used(set).min(slots.len())];
        let of = name(slots);
        let Some(want) = self.maglev.wanted.get_mut(&set) else {
            return;
        };
        if self.image.maglev.is_of((set, size), of) {
            want.lacks = Lack::Nothing;
            return;
        }
        if want.ordered == of {
            return;
        }
        let needed = usize::from(chunks(size));
        let all = self.image.maglev.entries() + needed;
        if !self.image.maglev.has((set, size)) && all > self.tables.maglev.capacity() as usize {
            want.lacks = Lack::Room(needed as u32);
            return;
        }
        let backends: Option<Vec<Backend>> = slots
            .iter()
            .map(|id| {
                let v4 = self.image.pool4.get(*id).as_ref().map(server4);
                let server = v4.or_else(|| self.image.pool6.get(*id).as_ref().map(server6))?;
                Some(Backend {
                    address: server.address,
                    port: server.port,
                    weight: 1,
                })
            })
            .collect();
        if let Some(backends) = backends {
            want.ordered = of;
            let order = Order {
                set,
                size,
                of,
                backends,
            };
            self.maglev.builder.order(order);
        }
    }

    /// Writes what was built, and removes what is wanted no more.
    pub(super) fn tend_tables(&mut self, report: &mut SyncReport) {
        self.order_again();
        for _ in 0..TABLES_A_TURN {
            let Some(built) = self.maglev.builder.take() else {
                break;
            };
            self.install(&built, report);
        }
        self.remove_loose(report);
    }

    /// When there is something to do, or may be.
    pub(super) fn tables_due(&self) -> Option<Instant> {
        let now = Instant::now();
        let busy = self.maglev.builder.is_busy() || self.maglev.freed;
        let busy = busy.then(|| now + ASK_AGAIN);
        let grace = self.image.grace();
        let loose = self.maglev.loose.front();
        let loose = loose.map(|(since, _)| (*since + grace).max(now + ASK_AGAIN));
        let again = self
            .maglev
            .wanted
            .values()
            .filter_map(|want| match want.lacks {
                Lack::Write(_, due) => Some(due),
                Lack::Nothing | Lack::Room(_) => None,
            });
        busy.into_iter().chain(loose).chain(again).min()
    }

    /// What could not be written and is due, and, if there is room now, what found none.
    fn order_again(&mut self) {
        let now = Instant::now();
        let freed = std::mem::take(&mut self.maglev.freed);
        let due = |want: &Want| match want.lacks {
            Lack::Nothing => false,
            Lack::Room(_) => freed,
            Lack::Write(_, due) => due <= now,
        };
        let wanted = self.maglev.wanted.iter();
        let due: Vec<u32> = wanted
            .filter(|(_, w)| due(w))
            .map(|(set, _)| *set)
            .collect();
        for set in due {
            self.order_anew(set);
        }
    }

    fn order_anew(&mut self, set: u32) {
        if let Some(want) = self.maglev.wanted.get_mut(&set) {
            want.ordered = 0;
            want.lacks = Lack::Nothing;
        }
        self.order(set);
    }

    fn install(&mut self, built: &Built, report: &mut SyncReport) {
        let id = (built.set, self.maglev.size);
        let Some(want) = self.maglev.wanted.get_mut(&built.set) else {
            return;
        };
        if want.ordered != built.of || built.slots.len() != usize::from(id.1) {
            return;
        }
        let was_whole = self.image.maglev.is_whole(id);
        let map = &mut *self.tables.maglev;
        let known = &mut self.image.maglev;
        match known.write(map, built.set, built.of, &built.slots) {
            Ok(writes) => {
                report.writes += writes;
                (want.lacks, want.refused) = (Lack::Nothing, 0);
                if !was_whole {
                    // Its frontends are led to it.
                    let owner = want.owner.clone();
                    self.mark(owner, Stamp::now());
                }
            }
            Err(error) => {
                tracing::debug!(%error, set = built.set, "a Maglev table was not written");
                let full = matches!(error, TableError::Full { .. });
                report.errors += usize::from(!full);
                want.lacks = if full {
                    self.maglev.loose.push_back((Instant::now(), id));
                    Lack::Room(u32::from(chunks(id.1)))
                } else {
                    let backoff = BACKOFF_MIN.saturating_mul(1 << want.refused.min(20));
                    want.refused += 1;
                    Lack::Write(error.to_string(), Instant::now() + backoff.min(BACKOFF_MAX))
                };
            }
        }
    }

    /// Tables that nobody has wanted for long enough, and to which no frontend leads.
    fn remove_loose(&mut self, report: &mut SyncReport) {
        let now = Instant::now();
        let grace = self.image.grace();
        let mut rested = Vec::new();
        while let Some((since, id)) = self.maglev.loose.front().copied() {
            if now.saturating_duration_since(since) < grace {
                break;
            }
            self.maglev.loose.pop_front();
            if self.image.maglev.has(id) {
                rested.push(id);
            }
        }
        if rested.is_empty() {
            return;
        }
        let frontends = self.image.frontends();
        let led: BTreeSet<(u32, u32)> = frontends.map(|(_, f)| (f.external.id, f.maglev)).collect();
        for id in rested {
            let wanted = self.maglev.wanted.get(&id.0);
            let wanted = wanted.is_some_and(|want| !matches!(want.lacks, Lack::Room(_)));
            if id.1 == self.maglev.size && wanted {
                continue;
            }
            if led.contains(&(id.0, u32::from(id.1))) {
                self.maglev.loose.push_back((now, id));
                continue;
            }
            match self.image.maglev.remove(&mut *self.tables.maglev, id) {
                Ok(writes) => {
                    report.writes += writes;
                    self.maglev.freed |= writes > 0;
                }
                Err(error) => {
                    tracing::debug!(%error, "removal postponed");
                    self.maglev.loose.push_back((now, id));
                }
            }
        }
    }

    /// Tables that are there, and that nobody seems to want.
    pub(super) fn look_at_tables(&mut self) {
        let size = self.maglev.size;
        let wanted = &self.maglev.wanted;
        let all = self.image.maglev.ids();
        let stray = all.filter(|id| id.1 != size || !wanted.contains_key(&id.0));
        let now = Instant::now();
        let known: BTreeSet<TableId> = self.maglev.loose.iter().map(|(_, id)| *id).collect();
        let new: Vec<TableId> = stray.filter(|id| !known.contains(id)).collect();
        let new = new.into_iter().map(|id| (now, id));
        self.maglev.loose.extend(new);
    }

    /// Somebody else has changed a table.
    pub(super) fn mend_table(&mut self, id: TableId) {
        self.image.maglev.doubt(id);
        if id.1 == self.maglev.size {
            self.order_anew(id.0);
        }
    }

    /// Adds up what found no room.
    pub(super) fn tables_wait_for_room(&self, room: &mut Room) {
        for want in self.maglev.wanted.values() {
            if let Lack::Room(needed) = want.lacks {
                let sum = room
                    .entry(self.tables.maglev.name().to_owned())
                    .or_default();
                *sum = sum.saturating_add(needed);
            }
        }
    }

    /// There may be room now.
    pub(super) fn tables_resized(&mut self) {
        self.maglev.freed = true;
    }

    /// Why some choose at random that shall have a table.
    pub fn without_tables(&self) -> Vec<String> {
        let lacks = |room: bool| {
            let wanted = self.maglev.wanted.values();
            wanted.filter(move |want| match want.lacks {
                Lack::Nothing => false,
                Lack::Room(_) => room,
                Lack::Write(..) => !room,
            })
        };
        let map = &self.tables.maglev;
        let mut lines = Vec::new();
        if let Some(first) = lacks(true).next() {
            let needed = chunks(self.maglev.size);
            lines.push(format!(
                "{} ports of Services choose at random for want of Maglev tables, as {}: {} has no room for the {needed} \
                 entries of one ({} of {} in use)",
                lacks(true).count(),
                first.owner.in_words(),
                map.name(),
                self.image.maglev.entries(),
                map.capacity(),
            ));
        }
        if let Some(Want {
            owner,
            lacks: Lack::Write(error, _),
            ..
        }) = lacks(false).next()
        {
            let owner = owner.in_words();
            let count = lacks(false).count();
            lines.push(format!(
                "{count} Maglev tables are not written, as that of {owner}: {error}"
            ));
        }
        let size = usize::from(self.maglev.size);
        let crowded =
            self.ports.values().flatten().filter(|port| {
                size > 0 && port.outside != 0 && self.image.used(port.outside) > size
            });
        let crowded = crowded.count();
        if crowded > 0 {
            lines.push(format!(
                "{crowded} ports of Services choose at random: they have more backends than a Maglev table has places ({size})"
            ));
        }
        lines
    }
}

/// A number by which the backends of a set are known, in their order; never 0.
fn name(slots: &[u32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    slots.hash(&mut hasher);
    hasher.finish().max(1)
}
