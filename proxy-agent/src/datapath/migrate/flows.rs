//! Flows that are carried from one set of maps to another.

use std::{collections::HashMap, fmt::Debug, hash::Hash, io, os::fd::OwnedFd, path::Path};

use aya::Pod;
use proxy_common::conntrack::{
    FLOW_ASSURED, FLOW_BUSY, FLOW_ENDED, FLOW_GRACE_SECONDS, Flow, FlowKey, FlowPlace, Head,
};

use crate::datapath::{
    bpfsys::{map, object, words::MappedWords},
    clock,
    error::DatapathError,
};

/// An address family, as far as flows need it.
pub(super) trait Address: Copy + Debug + Default + Eq + Hash + Send + 'static {}
impl Address for proxy_common::address::Address4 {}
impl Address for proxy_common::address::Address6 {}

/// A flow's record wherever it is: its place and the generation in its head mean nothing.
pub(super) type Record<A> = Flow<A>;

/// The key of the direction that began a flow.
pub(super) fn key<A: Copy>(flow: &Record<A>) -> FlowKey<A> {
    direction(flow, 0)
}

fn direction<A: Copy>(flow: &Record<A>, number: usize) -> FlowKey<A> {
    FlowKey {
        tuple: flow.tuple(number),
        protocol: u32::from(Head::unpack(flow.head).protocol),
    }
}

/// Whether a flow lives, `now` seconds after boot.
pub(super) fn lives<A>(flow: &Record<A>, now: u32) -> bool {
    flow.expires >= now && Head::unpack(flow.head).flags & FLOW_ENDED == 0
}

/// `FLOWS*` and `FLOW_INDEX*` of a family. While it is written to, no program begins a flow in it.
pub(super) struct Store<A> {
    words: MappedWords,
    index: OwnedFd,
    /// The next slot to look at.
    next: usize,
    family: std::marker::PhantomData<A>,
}

/// A flow that was carried over, as it was written.
#[derive(Clone, Copy, Debug)]
struct Placed<A> {
    place: FlowPlace,
    written: Record<A>,
}

impl<A: Address> Store<A>
where
    Flow<A>: Pod,
    FlowKey<A>: Pod,
{
    const STRIDE: usize = size_of::<Flow<A>>() / size_of::<u64>();

    /// Opens the maps pinned at these paths.
    pub(super) fn open(flows: &Path, index: &Path) -> Result<Self, DatapathError> {
        let open = |path: &Path| object::open_map(path).map_err(DatapathError::corrupt(path));
        let (array, index_map) = (open(flows)?, open(index)?);
        let mapped = || {
            let (slots, keys) = (object::map_info(&array)?, object::map_info(&index_map)?);
            let sizes = [slots.value_size, keys.key_size, keys.value_size].map(|n| n as usize);
            if sizes
                != [
                    size_of::<Flow<A>>(),
                    size_of::<FlowKey<A>>(),
                    size_of::<FlowPlace>(),
                ]
            {
                return Err(io::Error::other("not a map of flows"));
            }
            MappedWords::new(&array, slots.max_entries as usize * Self::STRIDE)
        };
        Ok(Self {
            words: mapped().map_err(DatapathError::corrupt(flows))?,
            index: index_map,
            next: 0,
            family: std::marker::PhantomData,
        })
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.words.len() / Self::STRIDE
    }

    /// All flows that live. One that is being written just now is left out.
    pub(super) fn read(&self) -> Vec<Record<A>> {
        let now = clock::seconds();
        let slots = 0..self.slots();
        slots.filter_map(|slot| self.living(slot, now)).collect()
    }

    /// Whether a program is writing a slot's flow just now.
    pub(super) fn is_busy(&self, slot: usize) -> bool {
        self.head(slot).flags & FLOW_BUSY != 0
    }

    /// The flow of a slot, if it lives `now` seconds after boot.
    pub(super) fn living(&self, slot: usize, now: u32) -> Option<Record<A>> {
        self.record(slot).filter(|flow| lives(flow, now))
    }

    fn word(&self, slot: usize, offset: usize) -> u64 {
        self.words.load(slot * Self::STRIDE + offset).unwrap_or(0)
    }

    fn head(&self, slot: usize) -> Head {
        Head::unpack(self.word(slot, 0))
    }

    fn record(&self, slot: usize) -> Option<Record<A>> {
        // `expires` is the first half of the word after the head.
        if self.word(slot, 1) as u32 == 0 || self.is_busy(slot) {
            return None;
        }
        let words: Vec<u64> = (0..Self::STRIDE)
            .map(|offset| self.word(slot, offset))
            .collect();
        let flow = map::from_words::<Flow<A>>(&words)?;
        let after = self.head(slot);
        let same = after.generation == Head::unpack(flow.head).generation;
        (same && after.flags & FLOW_BUSY == 0).then_some(flow)
    }

    fn put(&self, slot: usize, flow: &Record<A>) {
        let bytes = map::bytes_of(flow).as_chunks().0;
        for (offset, word) in bytes.iter().enumerate().rev() {
            let at = slot * Self::STRIDE + offset;
            // The head, which makes it valid, comes last.
            self.words.store(at, u64::from_ne_bytes(*word));
        }
    }

    /// Changes the record of a flow whose packets may be changing it too: they change its head by compare-and-swap only,
    /// and a second's worth of life does not matter.
    fn amend(&self, slot: usize, before: &Record<A>, after: &Record<A>) {
        let (old, new) = (
            map::bytes_of(before).as_chunks().0,
            map::bytes_of(after).as_chunks().0,
        );
        for (offset, (old, new)) in old.iter().zip(new).enumerate() {
            let at = slot * Self::STRIDE + offset;
            let (old, new) = (u64::from_ne_bytes(*old), u64::from_ne_bytes(*new));
            if offset == 0 {
                // Changed meanwhile: the next pass looks again.
                self.words.exchange(at, old, new);
            } else if old != new {
                self.words.store(at, new);
            }
        }
    }

    /// A slot whose flow is over, or that had none.
    fn free(&mut self) -> Option<usize> {
        let now = clock::seconds();
        for _ in 0..self.slots() {
            let slot = self.next;
            self.next = (slot + 1) % self.slots();
            let (head, expires) = (self.head(slot), self.word(slot, 1) as u32);
            let over =
                head.flags & FLOW_ENDED != 0 || expires.saturating_add(FLOW_GRACE_SECONDS) < now;
            if expires == 0 || over && head.flags & FLOW_BUSY == 0 {
                return Some(slot);
            }
        }
        None
    }

    /// Where the flow stands that has a key.
    fn find(&self, key: &FlowKey<A>) -> io::Result<Option<FlowPlace>> {
        map::lookup(&self.index, key)
    }

    /// Writes a flow to a slot of its own; none if another one has one of its tuples, or all slots are taken.
    fn place(&mut self, flow: &Record<A>) -> io::Result<Option<Placed<A>>> {
        if let Some(found) = self.find(&key(flow))? {
            return Ok(self.adopt(found, flow));
        }
        let Some(slot) = self.free() else {
            return Ok(None);
        };
        if let Some(former) = self.record(slot) {
            self.forget(slot, &former)?;
        }
        let generation = self.head(slot).generation.wrapping_add(1);
        let head = Head {
            generation,
            ..Head::unpack(flow.head)
        };
        let written = Flow {
            head: head.pack(),
            ..*flow
        };
        let place = FlowPlace::new(slot as u32, 0, generation);
        for number in 0..2 {
            let at = FlowPlace::new(slot as u32, number, generation);
            if !map::insert(&self.index, &direction(flow, number as usize), &at)? {
                self.forget(slot, &written)?;
                return Ok(None);
            }
        }
        self.put(slot, &written);
        Ok(Some(Placed { place, written }))
    }

    /// A flow that an earlier attempt has carried over.
    fn adopt(&self, found: FlowPlace, flow: &Record<A>) -> Option<Placed<A>> {
        let theirs = self.record(found.slot() as usize)?;
        (theirs.target == flow.target).then_some(Placed {
            place: FlowPlace::new(found.slot(), 0, Head::unpack(theirs.head).generation),
            written: theirs,
        })
    }

    /// Takes into a flow that was carried over what has changed where it came from.
    fn merge(&self, placed: &mut Placed<A>, flow: &Record<A>) {
        let slot = placed.place.slot() as usize;
        let Some(theirs) = self.record(slot) else {
            return;
        };
        let (before, here) = (Head::unpack(placed.written.head), Head::unpack(theirs.head));
        if u32::from(here.generation) != placed.place.generation {
            return;
        }
        let there = Head::unpack(flow.head);
        let head = Head {
            // What its packets have set here stays.
            flags: there.flags | here.flags & !before.flags,
            seen: if here.seen == before.seen {
                there.seen
            } else {
                here.seen
            },
            ..here
        };
        let merged = Flow {
            head: head.pack(),
            expires: if theirs.expires == placed.written.expires {
                flow.expires
            } else {
                flow.expires.max(theirs.expires)
            },
            ..*flow
        };
        if merged != theirs {
            self.amend(slot, &theirs, &merged);
        }
        placed.written = Flow {
            head: Head {
                flags: there.flags,
                ..head
            }
            .pack(),
            ..merged
        };
    }

    /// Gives the slot of a flow back that is over where it came from, unless packets have kept it alive here.
    fn release(&self, placed: &Placed<A>) -> io::Result<()> {
        let slot = placed.place.slot() as usize;
        let Some(theirs) = self.record(slot) else {
            return Ok(());
        };
        let generation = u32::from(Head::unpack(theirs.head).generation);
        if generation != placed.place.generation || theirs.expires != placed.written.expires {
            return Ok(());
        }
        self.forget(slot, &theirs)?;
        let ended = Head {
            generation: Head::unpack(theirs.head).generation,
            ..Head::default()
        };
        self.put(
            slot,
            &Flow {
                head: ended.pack(),
                expires: 0,
                ..theirs
            },
        );
        Ok(())
    }

    /// Removes the keys of a flow in a slot, if they are its own.
    fn forget(&self, slot: usize, flow: &Record<A>) -> io::Result<()> {
        let generation = Head::unpack(flow.head).generation;
        for number in 0..2 {
            let key = direction(flow, number as usize);
            if self.find(&key)? == Some(FlowPlace::new(slot as u32, number, generation)) {
                map::delete(&self.index, &key)?;
            }
        }
        Ok(())
    }
}

/// How little it matters that a flow is lost.
fn rank<A>(flow: &Record<A>) -> u32 {
    let head = Head::unpack(flow.head);
    if head.is_closed() {
        2
    } else {
        u32::from(head.flags & FLOW_ASSURED == 0)
    }
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// Flows that were written anew.
    pub(super) placed: usize,
    /// Flows that could not be: another one has their tuple, or there is no slot.
    pub(super) lost: usize,
}

/// Carries flows to a store, pass by pass.
pub(super) struct Transfer<A: Address> {
    store: Store<A>,
    placed: HashMap<FlowKey<A>, Placed<A>>,
}

impl<A: Address> Transfer<A>
where
    Flow<A>: Pod,
    FlowKey<A>: Pod,
{
    /// To this store.
    pub(super) fn new(store: Store<A>) -> Self {
        Self {
            store,
            placed: HashMap::new(),
        }
    }

    /// Brings the store in step with flows, which are all those that live elsewhere.
    pub(super) fn pass(&mut self, flows: &[Record<A>]) -> io::Result<Passed> {
        let mut before = std::mem::take(&mut self.placed);
        let mut fresh: Vec<&Record<A>> = Vec::new();
        for flow in flows {
            match before.remove(&key(flow)) {
                Some(mut placed) if placed.written.target == flow.target => {
                    self.store.merge(&mut placed, flow);
                    self.placed.insert(key(flow), placed);
                }
                Some(other) => {
                    self.store.release(&other)?;
                    fresh.push(flow);
                }
                None => fresh.push(flow),
            }
        }
        for gone in before.values() {
            self.store.release(gone)?;
        }
        let mut passed = Passed::default();
        // Should there not be room for all.
        fresh.sort_by_key(|flow| rank(flow));
        for flow in fresh {
            match self.store.place(flow)? {
                Some(placed) => {
                    passed.placed += 1;
                    self.placed.insert(key(flow), placed);
                }
                None => passed.lost += 1,
            }
        }
        Ok(passed)
    }
}
