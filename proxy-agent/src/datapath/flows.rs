//! `FLOWS4` and `FLOWS6` in our own memory: flows are read, counted and ended without a system call for each.
//!
//! Programs write while we read. What changes of a flow stands in its head, which is one word; all else is written while
//! the slot is busy, before its generation is seen. So a copy is whole if the head has one generation before and after.

mod ports;
mod state;

use std::{
    collections::HashSet,
    io,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use aya::Pod;
use proxy_common::{
    address::{Address4, Address6, octets4, octets6},
    conntrack::{
        ENDPOINT_HOST, FLOW_ASSURED, FLOW_BUSY, FLOW_ENDED, Flow, Flow4, Flow6, Head, Tuple,
    },
};

use super::{
    bpfsys::{map, words::MappedWords},
    clock,
    handle::{MapHandle, OpenMap},
};
pub use ports::PortsTaken;
pub use state::FlowState;

/// How often a slot is looked at that somebody is taking, which is a matter of microseconds.
const TRIES: usize = 1000;

/// Slots at which a sample looks, at least, where there are as many: enough to tell a share to a hundredth. Each look
/// misses the processor's caches.
const SAMPLE: u32 = 2048;

/// Whether an end of a flow (`Flow::endpoint`) is a pod of this node.
pub const fn is_pod(endpoint: u16) -> bool {
    endpoint != 0 && endpoint != ENDPOINT_HOST
}

/// The flows of a family. Clones share the mapping.
#[derive(Clone, Debug)]
pub struct Flows {
    words: Arc<ArcSwap<MappedWords>>,
    family: Family,
    /// Flows that were ended since the maps began to be exchanged, by their tuples: those are carried over as they were before.
    ended: Arc<Mutex<Option<Ended>>>,
}

/// Flows by protocol and tuples.
type Ended = HashSet<(u8, [Tuple<IpAddr>; 2])>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// The records where they are now: who looks at many does not ask for each where it is.
struct Records {
    words: Arc<MappedWords>,
    family: Family,
}

/// Somebody wrote the record while it was copied.
struct Torn;

/// How the slots are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowUsage {
    /// Flows whose slots no other one may take.
    pub assured: u32,
    /// Others that live.
    pub unassured: u32,
    /// Flows that are over: their slots are taken when they are needed.
    pub expired: u32,
    /// Flows by state, in the order of [`FlowState::ALL`].
    pub states: [u32; FlowState::ALL.len()],
}

impl FlowUsage {
    /// Flows that live.
    pub const fn live(self) -> u32 {
        self.assured + self.unassured
    }
}

impl Flows {
    /// Maps an array of flows, whose family their size tells.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "as all kinds of maps are made"
    )]
    pub(super) fn new(map: MapHandle) -> io::Result<Self> {
        let family = if map.info().value_size as usize == size_of::<Flow6>() {
            Family::V6
        } else {
            Family::V4
        };
        map.check_sizes(size_of::<u32>(), family.bytes())?;
        Self::mapped(map.open(), map.info().max_entries as usize, family)
    }

    /// Puts another array of the same family in the place of this one.
    pub(super) fn exchange(&self, other: OwnedFd) -> io::Result<()> {
        let map = OpenMap::new(other)?;
        let words = map.info().max_entries as usize * self.family.stride();
        let words = Arc::new(MappedWords::new(&map, words)?);
        let mut noted = self.ended();
        self.words.store(words);
        let ended = noted.take().unwrap_or_default();
        drop(noted);
        if !ended.is_empty() {
            self.end_where(clock::seconds(), |flow| ended.contains(&identity(flow)));
        }
        Ok(())
    }

    /// Flows that are ended from now on are ended in the array too that takes the place of this one.
    pub(super) fn note_ends(&self) {
        *self.ended() = Some(Ended::new());
    }

    fn ended(&self) -> MutexGuard<'_, Option<Ended>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mapped(memory: impl AsFd, slots: usize, family: Family) -> io::Result<Self> {
        let words = MappedWords::new(memory, slots * family.stride())?;
        Ok(Self {
            words: Arc::new(ArcSwap::from_pointee(words)),
            family,
            ended: Arc::default(),
        })
    }

    /// How many flows fit.
    pub fn capacity(&self) -> u32 {
        (self.words.load().len() / self.family.stride()) as u32
    }

    /// The flow in a slot: none if it was never used, or is just being taken.
    pub fn get(&self, slot: u32) -> Option<Flow<IpAddr>> {
        self.records().get(slot)
    }

    /// All flows with their slots, those that are over too.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Flow<IpAddr>)> {
        let records = self.records();
        let all = records.slots();
        all.filter_map(move |slot| Some((slot, records.get(slot)?)))
    }

    /// Counts them by what may become of their slots.
    pub fn usage(&self, now: u32) -> FlowUsage {
        let (records, mut usage) = (self.records(), FlowUsage::default());
        for slot in records.slots() {
            let (head, expires) = records.brief(slot);
            usage.add(head, expires, now);
        }
        usage
    }

    /// Whether a flow that neither side has ended has one of these flags.
    pub fn any_open(&self, now: u32, flags: u16) -> bool {
        let records = self.records();
        records.slots().any(|slot| {
            let (head, expires) = records.brief(slot);
            expires != 0
                && head.flags & flags != 0
                && FlowState::of_parts(head, expires, now).is_open()
        })
    }

    /// About how many flows are assured, by a look at one slot in so many: others from second to second.
    pub fn sample(&self, now: u32) -> u32 {
        let records = self.records();
        let stride = (self.capacity() / SAMPLE).max(1);
        let looked = records.slots().skip((now % stride) as usize);
        let assured = looked.step_by(stride as usize).filter(|slot| {
            let (head, expires) = records.brief(*slot);
            let state = FlowState::of_parts(head, expires, now);
            let is_open = matches!(state, FlowState::Established | FlowState::Closing);
            expires != 0 && is_open && head.flags & FLOW_ASSURED != 0
        });
        assured.count() as u32 * stride
    }

    /// Ends all flows that live and of which `which` is true; gives how many.
    pub fn end_where(&self, now: u32, which: impl Fn(&Flow<IpAddr>) -> bool) -> u32 {
        // No other array takes the place of this one meanwhile.
        let mut noted = self.ended();
        let records = self.records();
        let live = records.slots().filter(|slot| records.is_live(*slot, now));
        let concerned = live.filter_map(|slot| Some((slot, records.get(slot)?)));
        let mut ended = 0;
        for (slot, flow) in concerned.filter(|(_, flow)| which(flow)) {
            if records.end(slot, flow.head) {
                ended += 1;
                noted.as_mut().map(|noted| noted.insert(identity(&flow)));
            }
        }
        ended
    }

    fn records(&self) -> Records {
        Records {
            words: self.words.load_full(),
            family: self.family,
        }
    }
}

impl FlowUsage {
    /// Adds a slot with this head and expiry.
    fn add(&mut self, head: Head, expires: u32, now: u32) {
        if expires == 0 {
            return;
        }
        let state = FlowState::of_parts(head, expires, now);
        self.states[state as usize] += 1;
        if state == FlowState::Expired {
            self.expired += 1;
        } else if head.flags & FLOW_ASSURED != 0 && state.is_open() {
            self.assured += 1;
        } else {
            self.unassured += 1;
        }
    }
}

impl Records {
    fn slots(&self) -> std::ops::Range<u32> {
        0..(self.words.len() / self.family.stride()) as u32
    }

    fn get(&self, slot: u32) -> Option<Flow<IpAddr>> {
        (0..TRIES).find_map(|_| self.copy(slot).ok()).flatten()
    }

    /// Ends the flow that was read from a slot; false if another one has the slot by now. `head` is what was read.
    fn end(&self, slot: u32, head: u64) -> bool {
        let read = Head::unpack(head);
        let place = slot as usize * self.family.stride();
        while let Some(word) = self.words.load(place) {
            let now = Head::unpack(word);
            if now.generation != read.generation || now.flags & FLOW_BUSY != 0 {
                return false;
            }
            let ended = Head {
                flags: now.flags | FLOW_ENDED,
                ..now
            };
            if self.words.exchange(place, word, ended.pack()) {
                return true;
            }
        }
        false
    }

    /// Whether a slot has a flow that lives, seen by as little as tells it.
    fn is_live(&self, slot: u32, now: u32) -> bool {
        let (head, expires) = self.brief(slot);
        expires >= now && head.flags & FLOW_ENDED == 0
    }

    fn word(&self, slot: u32, offset: usize) -> u64 {
        let place = slot as usize * self.family.stride();
        self.words.load(place + offset).unwrap_or(0)
    }

    /// Head and expiry of a slot.
    fn brief(&self, slot: u32) -> (Head, u32) {
        // `expires` is the first half of the word after the head.
        let second = self.word(slot, 1).to_ne_bytes();
        let expires = u32::from_ne_bytes([second[0], second[1], second[2], second[3]]);
        (Head::unpack(self.word(slot, 0)), expires)
    }

    /// One try to copy a record; none if the slot was never used.
    fn copy(&self, slot: u32) -> Result<Option<Flow<IpAddr>>, Torn> {
        let (then, expires) = self.brief(slot);
        if then.flags & FLOW_BUSY != 0 {
            return Err(Torn);
        }
        if expires == 0 {
            return Ok(None);
        }
        let mut record = [0; size_of::<Flow6>() / size_of::<u64>()];
        let record = &mut record[..self.family.stride()];
        for (offset, word) in record.iter_mut().enumerate() {
            *word = self.word(slot, offset);
        }
        let after = self.word(slot, 0);
        let now = Head::unpack(after);
        if then.generation != now.generation || now.flags & FLOW_BUSY != 0 {
            return Err(Torn);
        }
        record[0] = after;
        Ok(self.family.flow(record))
    }
}

impl Family {
    const fn bytes(self) -> usize {
        match self {
            Self::V4 => size_of::<Flow4>(),
            Self::V6 => size_of::<Flow6>(),
        }
    }

    /// Words of a record.
    const fn stride(self) -> usize {
        self.bytes() / size_of::<u64>()
    }

    fn flow(self, record: &[u64]) -> Option<Flow<IpAddr>> {
        match self {
            Self::V4 => flow(record, |ip: Address4| octets4(ip).into()),
            Self::V6 => flow(record, |ip: Address6| octets6(ip).into()),
        }
    }
}

/// What a flow is known by, wherever it stands.
fn identity(flow: &Flow<IpAddr>) -> (u8, [Tuple<IpAddr>; 2]) {
    (Head::unpack(flow.head).protocol, flow.target)
}

/// A record with its addresses in user space's form.
fn flow<A: Copy>(record: &[u64], ip: impl Fn(A) -> IpAddr) -> Option<Flow<IpAddr>>
where
    Flow<A>: Pod,
{
    let Flow {
        head,
        expires,
        epoch,
        endpoint,
        cookie,
        service,
        backend,
        target,
    } = map::from_words::<Flow<A>>(record)?;
    let tuple = |tuple: Tuple<A>| Tuple {
        source: ip(tuple.source),
        destination: ip(tuple.destination),
        source_port: tuple.source_port,
        destination_port: tuple.destination_port,
    };
    Some(Flow {
        head,
        expires,
        epoch,
        endpoint,
        cookie,
        service,
        backend,
        target: target.map(tuple),
    })
}

#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;
