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

/// The writes for one Service, by phase.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    backends: Vec<Step>,
    appends: Vec<Step>,
    members: Vec<Step>,
    raises: Vec<Step>,
    overwrites: Vec<Step>,
    sources: Vec<Step>,
    frontends: Vec<Step>,
    removes: Vec<Step>,
    unwanted: Vec<Step>,
    lowers: Vec<Step>,
}

impl Plan {
    /// The writes in their order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        let Self {
            backends,
            appends,
            members,
            raises,
            overwrites,
            sources,
            frontends,
            removes,
            unwanted,
            lowers,
        } = self;
        let phases = [
            backends, appends, members, raises, overwrites, sources, frontends, removes, unwanted,
            lowers,
        ];
        phases.into_iter().flatten()
    }

    /// The members that it writes.
    pub fn members(&self) -> impl Iterator<Item = MemberKey> {
        self.members.iter().filter_map(|step| match step {
            Step::Member(key, _) => Some(*key),
            _ => None,
        })
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

    /// Makes these backends members of a set in which they have no slot.
    pub fn linger(&mut self, image: &Image, set: u32, backends: &[u32]) {
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
    if current.len() == count && current == wanted {
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
