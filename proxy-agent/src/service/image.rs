//! What the maps are known to hold. Each write that succeeds is noted here; nothing else changes it, so a
//! Service whose writes failed half-way is planned anew from where it stands.

mod read;
pub mod written;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use proxy_common::{
    backends::{Backend4, Backend6, MemberKey},
    frontends::{Frontend, FrontendKey4, FrontendKey6},
};

use super::{
    by_id::ById,
    key::FrontendKey,
    maglev,
    plan::{Keep, Step, slot},
    pool::Pool,
    sources::Sources,
    vips::Vips,
};
use crate::model::full;

/// How long what no frontend uses any more is left: a packet that read the frontend before it changed may
/// still be on its way to the slot (the programs run for microseconds).
pub const GRACE: Duration = Duration::from_millis(50);

/// The maps of Services.
#[derive(Clone, Debug)]
pub struct Image {
    pub(super) frontends4: BTreeMap<FrontendKey4, Frontend>,
    pub(super) frontends6: BTreeMap<FrontendKey6, Frontend>,
    /// `BACKENDS4`.
    pub pool4: Pool<Backend4>,
    /// `BACKENDS6`.
    pub pool6: Pool<Backend6>,
    sets: ById<Set>,
    slot_count: usize,
    /// `BACKEND_MEMBERS`.
    pub members: BTreeMap<MemberKey, u32>,
    /// `SOURCES4` and `SOURCES6`.
    pub sources: Sources,
    /// `VIPS4` and `VIPS6`.
    pub vips: Vips,
    /// `MAGLEV`.
    pub maglev: maglev::Tables,
    /// Of sets that shall have some: backends that stay members without a slot.
    lingering: HashMap<u32, Box<[u32]>>,
    loose: VecDeque<(Instant, Loose)>,
    grace: Duration,
}

/// The slots of a set, 0 for a missing one. Those from `used` on serve nobody.
#[derive(Clone, Debug, Default)]
struct Set {
    slots: Box<[u32]>,
    used: u32,
    /// `BACKEND_MEMBERS` is kept for it.
    members: bool,
}

impl Set {
    /// Makes room for so many slots and no more: there are as many sets as Services, and most never grow.
    fn grow(&mut self, count: usize) {
        if count > self.slots.len() {
            let mut slots = std::mem::take(&mut self.slots).into_vec();
            slots.reserve_exact(count - slots.len());
            slots.resize(count, 0);
            self.slots = slots.into();
        }
    }
}

/// Something that may have become useless.
#[derive(Clone, Copy, Debug)]
enum Loose {
    Slots(u32),
    Member(MemberKey),
    Backend(u32),
}

impl Default for Image {
    fn default() -> Self {
        Self {
            frontends4: BTreeMap::new(),
            frontends6: BTreeMap::new(),
            pool4: Pool::default(),
            pool6: Pool::default(),
            sets: ById::default(),
            slot_count: 0,
            members: BTreeMap::new(),
            sources: Sources::default(),
            vips: Vips::default(),
            maglev: maglev::Tables::default(),
            lingering: HashMap::new(),
            loose: VecDeque::new(),
            grace: GRACE,
        }
    }
}

impl Image {
    /// Changes how long useless entries are left.
    pub const fn set_grace(&mut self, grace: Duration) {
        self.grace = grace;
    }

    /// How long useless entries are left.
    pub const fn grace(&self) -> Duration {
        self.grace
    }

    /// To be called when much was added.
    pub fn pack(&mut self) {
        full(&mut self.frontends4);
        full(&mut self.frontends6);
    }

    /// A frontend.
    pub fn frontend(&self, key: &FrontendKey) -> Option<Frontend> {
        match key {
            FrontendKey::V4(key) => self.frontends4.get(key).copied(),
            FrontendKey::V6(key) => self.frontends6.get(key).copied(),
        }
    }

    /// All frontends.
    pub fn frontends(&self) -> impl Iterator<Item = (FrontendKey, Frontend)> {
        let v4 = self
            .frontends4
            .iter()
            .map(|(k, v)| (FrontendKey::V4(*k), *v));
        v4.chain(
            self.frontends6
                .iter()
                .map(|(k, v)| (FrontendKey::V6(*k), *v)),
        )
    }

    /// How many frontends of each family there are.
    pub fn frontend_counts(&self) -> (usize, usize) {
        (self.frontends4.len(), self.frontends6.len())
    }

    /// The slots of a set, in use or not.
    pub fn slots(&self, set: u32) -> &[u32] {
        self.sets.get(set).map_or(&[], |s| &s.slots)
    }

    /// How many of them frontends may use.
    pub fn used(&self, set: u32) -> usize {
        self.sets.get(set).map_or(0, |s| s.used as usize)
    }

    /// Whether a set is known.
    pub fn has_set(&self, set: u32) -> bool {
        self.sets.get(set).is_some() || self.lingering.contains_key(&set)
    }

    /// All sets.
    pub fn sets(&self) -> impl Iterator<Item = u32> {
        self.sets.iter().map(|(id, _)| id)
    }

    /// How many slots there are.
    pub const fn slot_count(&self) -> usize {
        self.slot_count
    }

    /// Notes a step that was done.
    pub fn done(&mut self, step: &Step, now: Instant) {
        match *step {
            Step::Backend4(id, value) => self.pool4.set(id, value),
            Step::Backend6(id, value) => self.pool6.set(id, value),
            Step::Slot(key, id) => self.slots_written(key.set, key.index as usize, &[id], now),
            Step::Member(key, slot) => {
                self.members.insert(key, slot);
            }
            Step::Use(set, count) => self.use_slots(set, count, now),
            Step::Drop(set) => self.drop_set(set, now),
            Step::Frontend(FrontendKey::V4(key), value) => {
                self.frontends4.insert(key, value);
            }
            Step::Frontend(FrontendKey::V6(key), value) => {
                self.frontends6.insert(key, value);
            }
            Step::RemoveFrontend(FrontendKey::V4(key), _) => {
                self.frontends4.remove(&key);
            }
            Step::RemoveFrontend(FrontendKey::V6(key), _) => {
                self.frontends6.remove(&key);
            }
            Step::RemoveSlot(key) => self.slot_removed(key.set, now),
            Step::Source(source) => self.sources.insert(source),
            Step::RemoveSource(source) => self.sources.remove(&source),
            Step::RemoveMember(key) => {
                self.members.remove(&key);
            }
            Step::RemoveBackend(id) => {
                self.pool4.forget(id);
                self.pool6.forget(id);
            }
        }
    }

    /// Notes slots of a set that were written one after the other, from an index on.
    pub fn slots_written(&mut self, set: u32, first: usize, ids: &[u32], now: Instant) {
        self.sets.entry(set, Set::default).grow(first + ids.len());
        for (index, id) in (first..).zip(ids) {
            self.slot_written(set, index, *id, now);
        }
    }

    fn slot_written(&mut self, set: u32, index: usize, id: u32, now: Instant) {
        let entry = self.sets.entry(set, Set::default);
        let old = std::mem::replace(&mut entry.slots[index], id);
        self.use_backend(id);
        if old == 0 {
            self.slot_count += 1;
        } else {
            self.let_go(set, old, now);
        }
    }

    fn use_backend(&mut self, id: u32) {
        if !self.pool4.use_once(id) {
            self.pool6.use_once(id);
        }
    }

    fn release_backend(&mut self, id: u32, now: Instant) {
        if self.pool4.release(id) || self.pool6.release(id) {
            self.loose.push_back((now, Loose::Backend(id)));
        }
    }

    fn slot_removed(&mut self, set: u32, now: Instant) {
        let Some(entry) = self.sets.get_mut(set) else {
            return;
        };
        let (old, rest) = entry.slots.split_last().unwrap_or((&0, &[]));
        let old = Some(*old);
        entry.slots = rest.into();
        if entry.slots.is_empty() && entry.used == 0 {
            self.sets.remove(set);
        }
        if let Some(old) = old.filter(|old| *old != 0) {
            self.slot_count -= 1;
            self.let_go(set, old, now);
        }
    }

    fn use_slots(&mut self, set: u32, count: u32, now: Instant) {
        let entry = self.sets.entry(set, Set::default);
        let before = std::mem::replace(&mut entry.used, count);
        if count == 0 && entry.slots.is_empty() {
            self.sets.remove(set);
            return;
        }
        if count < before || entry.slots.len() > count as usize {
            self.loose.push_back((now, Loose::Slots(set)));
        }
    }

    fn drop_set(&mut self, set: u32, now: Instant) {
        self.linger(set, &[], now);
        self.use_slots(set, 0, now);
    }

    /// A slot does not refer to a backend any more.
    fn let_go(&mut self, set: u32, id: u32, now: Instant) {
        let key = MemberKey { set, backend: id };
        if self.members.contains_key(&key) {
            self.loose.push_back((now, Loose::Member(key)));
        }
        self.release_backend(id, now);
    }

    /// Whether membership is kept for a set, and which backends are members though they have no slot. Who lingered
    /// and is chosen by now may have to wait for the slot.
    pub fn keep_members(&mut self, kept: &Keep, now: Instant) {
        let Keep { set, members, .. } = *kept;
        // Without slots there is nothing to keep: the set is not made known for it.
        if let Some(entry) = self.sets.get_mut(set)
            && std::mem::replace(&mut entry.members, members)
            && !members
        {
            for backend in entry.slots.clone() {
                self.look_at_member(MemberKey { set, backend }, now);
            }
        }
        let slots = self.slots(set);
        let before = self.lingering.get(&set).map_or(&[][..], |ids| ids);
        let rises = |id: &&u32| kept.chosen.contains(id) && !slots.contains(id);
        let rising = before.iter().filter(rises);
        let lingering: Vec<u32> = kept.lingering.iter().chain(rising).copied().collect();
        self.linger(set, &lingering, now);
    }

    /// Whether membership is kept for a set, or was and is not forgotten yet.
    pub fn keeps_members(&self, set: u32) -> bool {
        self.sets.get(set).is_some_and(|s| s.members) || self.lingering.contains_key(&set)
    }

    /// Who lingers is in use, as by a slot.
    fn linger(&mut self, set: u32, backends: &[u32], now: Instant) {
        let before = self.lingering.remove(&set).unwrap_or_default();
        for id in backends.iter().filter(|id| !before.contains(id)) {
            self.use_backend(*id);
        }
        if !backends.is_empty() {
            self.lingering.insert(set, backends.into());
        }
        for id in before.iter().filter(|id| !backends.contains(id)) {
            self.look_at_member(MemberKey { set, backend: *id }, now);
            self.release_backend(*id, now);
        }
    }

    /// Whether a member shall be one.
    fn is_wanted(&self, key: MemberKey) -> bool {
        let set = self.sets.get(key.set);
        let slots = set.filter(|s| s.members).map_or(&[][..], |s| &s.slots);
        let lingering = self.lingering.get(&key.set);
        slots.contains(&key.backend) || lingering.is_some_and(|ids| ids.contains(&key.backend))
    }

    /// A backend that may not be used: written by a plan that was not carried out to its end, or restored.
    pub fn look_at_backend(&mut self, id: u32, now: Instant) {
        self.loose.push_back((now, Loose::Backend(id)));
    }

    /// A member that is not wanted any more.
    pub fn look_at_member(&mut self, key: MemberKey, now: Instant) {
        self.loose.push_back((now, Loose::Member(key)));
    }

    /// A set that may have more slots than it uses.
    pub fn look_at_slots(&mut self, set: u32, now: Instant) {
        self.loose.push_back((now, Loose::Slots(set)));
    }

    /// What is really useless of what came loose longer ago than the grace: a step to do next. Ask again until
    /// there is none.
    pub fn useless(&mut self, now: Instant) -> Option<Step> {
        while let Some((since, loose)) = self.loose.front().copied() {
            if now.saturating_duration_since(since) < self.grace {
                return None;
            }
            if let Some(step) = self.removal(loose) {
                return Some(step);
            }
            self.loose.pop_front();
        }
        None
    }

    /// The removal that failed goes to the end of the queue.
    pub fn postpone(&mut self, now: Instant) {
        if let Some((_, loose)) = self.loose.pop_front() {
            self.loose.push_back((now, loose));
        }
    }

    /// When there will be something to remove.
    pub fn next_removal(&self) -> Option<Instant> {
        self.loose.front().map(|(since, _)| *since + self.grace)
    }

    fn removal(&mut self, loose: Loose) -> Option<Step> {
        match loose {
            Loose::Slots(set) => {
                let (length, used) = (self.slots(set).len(), self.used(set));
                if length == 0 && used == 0 {
                    self.sets.remove(set);
                }
                (length > used).then(|| Step::RemoveSlot(slot(set, length - 1)))
            }
            Loose::Member(key) => {
                let known = self.members.contains_key(&key);
                (known && !self.is_wanted(key)).then_some(Step::RemoveMember(key))
            }
            Loose::Backend(id) => {
                let idle = self.pool4.is_idle(id) || self.pool6.is_idle(id);
                idle.then_some(Step::RemoveBackend(id))
            }
        }
    }
}
