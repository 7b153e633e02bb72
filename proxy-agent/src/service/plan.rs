//! The writes that bring a Service in step, ordered so that every prefix of them leaves each frontend with a
//! set whose slots all resolve, and no client unasked: backends, then new slots, members, slots that change hands, ranges
//! of clients, frontends, then what frontends no longer need.

use std::collections::{BTreeSet, HashSet};

use ipnetwork::IpNetwork;
use proxy_common::{
    backends::{Backend4, Backend6, MEMBER_LINGERS, MemberKey, SlotKey},
    frontends::Frontend,
};

use super::{image::Image, key::FrontendKey, sources::Source};

/// One write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// `BACKENDS4`.
    Backend4(u32, Backend4),
    /// `BACKENDS6`.
    Backend6(u32, Backend6),
    /// `BACKEND_SLOTS`.
    Slot(SlotKey, u32),
    /// `BACKEND_MEMBERS`.
    Member(MemberKey, u32),
    /// Not a write: from here on frontends may use so many slots of a set.
    Use(u32, u32),
    /// Not a write: from here on nobody uses a set.
    Drop(u32),
    /// `SOURCES4`, `SOURCES6`.
    Source(Source),
    /// `FRONTENDS4`, `FRONTENDS6`.
    Frontend(FrontendKey, Frontend),
    /// Removes a frontend that is still this Service port's.
    RemoveFrontend(FrontendKey, u32),
    /// Removes a range of clients that no frontend is to serve.
    RemoveSource(Source),
    /// Removes a slot that no frontend uses.
    RemoveSlot(SlotKey),
    /// Removes a member.
    RemoveMember(MemberKey),
    /// Removes a backend that no slot refers to.
    RemoveBackend(u32),
}

impl Step {
    /// Whether it changes a map.
    pub const fn writes(&self) -> bool {
        !matches!(self, Self::Use(..) | Self::Drop(_))
    }

    /// The number of the map that it adds an entry to, or changes one of: frontends, backends, slots, members, source ranges.
    pub const fn map(&self) -> Option<usize> {
        Some(match self {
            Self::Frontend(FrontendKey::V4(_), _) => 0,
            Self::Frontend(FrontendKey::V6(_), _) => 1,
            Self::Backend4(..) => 2,
            Self::Backend6(..) => 3,
            Self::Slot(..) => 4,
            Self::Member(..) => 5,
            Self::Source(Source::V4(_)) => 6,
            Self::Source(Source::V6(_)) => 7,
            _ => return None,
        })
    }

    /// Whether it makes room, or gives up a frontend, that a refused Service may be waiting for.
    pub const fn frees(&self) -> bool {
        matches!(
            self,
            Self::RemoveFrontend(..)
                | Self::RemoveSource(_)
                | Self::RemoveSlot(_)
                | Self::RemoveMember(_)
                | Self::RemoveBackend(_)
        )
    }
}

/// Not a write: from here on membership is kept for a set, or not, and these are members of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The set.
    pub set: u32,
    /// Whether membership is kept.
    pub members: bool,
    /// Who has, or shall have, a slot.
    pub chosen: Box<[u32]>,
    /// Who is a member without one.
    pub lingering: Box<[u32]>,
}

/// The writes for one Service, by phase. A value: what it needs of ids it brings along, and nothing is known of it before it is
/// carried out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Backends, with their ids.
    pub backends: Vec<Step>,
    /// Slots that nobody uses yet.
    pub appends: Vec<Step>,
    /// Members.
    pub members: Vec<Step>,
    /// Which are kept from there on.
    pub keeps: Vec<Keep>,
    /// Slots that are used from there on.
    pub raises: Vec<Step>,
    overwrites: Vec<Step>,
    /// Ranges of clients.
    pub sources: Vec<Step>,
    /// Frontends.
    pub frontends: Vec<Step>,
    removes: Vec<Step>,
    unwanted: Vec<Step>,
    lowers: Vec<Step>,
}

impl Plan {
    /// What comes before [`Self::keeps`], in order.
    pub fn first(&self) -> impl Iterator<Item = &Step> {
        let phases = [&self.backends, &self.appends, &self.members];
        phases.into_iter().flatten()
    }

    /// What comes after it.
    pub fn then(&self) -> impl Iterator<Item = &Step> {
        let Self {
            raises,
            overwrites,
            sources,
            frontends,
            removes,
            unwanted,
            lowers,
            ..
        } = self;
        let phases = [
            raises, overwrites, sources, frontends, removes, unwanted, lowers,
        ];
        phases.into_iter().flatten()
    }

    /// All of both.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.first().chain(self.then())
    }

    /// Whether nothing that is in use changes hands or goes: the phases of several such plans may be carried out together.
    pub const fn only_adds(&self) -> bool {
        self.overwrites.is_empty()
            && self.removes.is_empty()
            && self.unwanted.is_empty()
            && self.lowers.is_empty()
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.steps().next().is_none()
    }

    /// Writes a backend of IPv4 unless the map has it so.
    pub fn backend4(&mut self, image: &Image, id: u32, value: Backend4) {
        if image.pool4.get(id) != Some(value) {
            self.backends.push(Step::Backend4(id, value));
        }
    }

    /// Writes a backend of IPv6 unless the map has it so.
    pub fn backend6(&mut self, image: &Image, id: u32, value: Backend6) {
        if image.pool6.get(id) != Some(value) {
            self.backends.push(Step::Backend6(id, value));
        }
    }

    /// Makes a set consist of these backends, in as few writes as possible: who stays keeps the slot.
    pub fn set(&mut self, image: &Image, set: u32, wanted: &[u32], members: bool) {
        let slots = image.slots(set);
        let used = image.used(set).min(slots.len());
        for (index, id) in arrange(&slots[..used], wanted).into_iter().enumerate() {
            let key = slot(set, index);
            if index >= slots.len() {
                self.appends.push(Step::Slot(key, id));
            } else if slots[index] != id {
                let phase = if index < used {
                    &mut self.overwrites
                } else {
                    &mut self.appends
                };
                phase.push(Step::Slot(key, id));
            }
            let member = MemberKey { set, backend: id };
            if members && image.members.get(&member) != Some(&key.index) {
                self.members.push(Step::Member(member, key.index));
            }
        }
        let count = wanted.len() as u32;
        match count.cmp(&(image.used(set) as u32)) {
            std::cmp::Ordering::Greater => self.raises.push(Step::Use(set, count)),
            std::cmp::Ordering::Less => self.lowers.push(Step::Use(set, count)),
            std::cmp::Ordering::Equal => {}
        }
    }

    /// Makes membership be kept for a set of these backends, or not, and those that linger members of it without a slot.
    pub fn keep(
        &mut self,
        image: &Image,
        set: u32,
        members: bool,
        (chosen, backends): (&[u32], &[u32]),
    ) {
        if members || image.keeps_members(set) || !backends.is_empty() {
            self.keeps.push(Keep {
                set,
                members,
                chosen: chosen.into(),
                lingering: backends.into(),
            });
        }
        for backend in backends.iter().copied() {
            let member = MemberKey { set, backend };
            if image.members.get(&member) != Some(&MEMBER_LINGERS) {
                self.members.push(Step::Member(member, MEMBER_LINGERS));
            }
        }
    }

    /// Makes a Service port have these ranges of clients: new ones before its frontends ask for them, old ones once these
    /// do not any more. Between the two both may come.
    pub fn sources(&mut self, image: &Image, service: u32, wanted: &BTreeSet<IpNetwork>) {
        let wanted = wanted.iter().map(|range| Source::new(service, *range));
        let wanted: BTreeSet<Source> = wanted.collect();
        let new = wanted.iter().filter(|source| !image.sources.has(source));
        self.sources.extend(new.copied().map(Step::Source));
        let known = image.sources.of(service);
        let old = known.filter(|source| !wanted.contains(source));
        self.unwanted.extend(old.copied().map(Step::RemoveSource));
    }

    /// Writes a frontend unless the map has it so.
    pub fn frontend(&mut self, image: &Image, key: FrontendKey, value: Frontend) {
        if image.frontend(&key) != Some(value) {
            self.frontends.push(Step::Frontend(key, value));
        }
    }

    /// Removes a frontend, if it is still the Service port's.
    pub fn remove_frontend(&mut self, image: &Image, key: FrontendKey, service: u32) {
        if image.frontend(&key).is_some_and(|f| f.service == service) {
            self.removes.push(Step::RemoveFrontend(key, service));
        }
    }

    /// Gives up a set.
    pub fn drop_set(&mut self, image: &Image, set: u32) {
        if image.has_set(set) {
            self.lowers.push(Step::Drop(set));
        }
    }
}

/// Where each wanted backend goes: whoever has one of the first slots stays, the others fill the holes.
fn arrange(current: &[u32], wanted: &[u32]) -> Vec<u32> {
    let count = wanted.len();
    if current.is_empty() || current == wanted {
        return wanted.to_vec();
    }
    let mut open: HashSet<u32> = wanted.iter().copied().collect();
    let kept = current.iter().take(count);
    let mut arranged: Vec<Option<u32>> = kept.map(|id| open.take(id)).collect();
    arranged.resize(count, None);
    let mut rest = wanted.iter().filter(|id| open.contains(id));
    arranged
        .into_iter()
        .filter_map(|kept| kept.or_else(|| rest.next().copied()))
        .collect()
}

/// Key of a slot.
pub(super) const fn slot(set: u32, index: usize) -> SlotKey {
    SlotKey {
        set,
        index: index as u32,
    }
}
