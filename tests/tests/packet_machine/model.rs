//! The model: which flows there are, and what may become of a packet.
//!
//! Where the datapath may choose (the backend, another source port where one is taken), the model says whether the
//! choice was allowed, and goes on with it.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use proxy_common::address::{TCP, UDP};
use weir_tests::{
    flow_table::{Dump, Record, Tuple},
    packets::Hook,
};

use super::{
    flow::{Flow, Seen},
    packet::{Kind, Packet, Part, Segment},
    world::World,
};

/// What a packet proves: nothing, or what is wrong.
pub(crate) type Judged = Result<(), String>;

/// Seconds by which the datapath may be behind: it notes the time once a second.
const TOLERANCE: u32 = 2;

/// For less than so many seconds the ports of a datagram are known, as long as a kernel waits for its fragments.
const REMEMBERED: u32 = 28;
/// After so many they are not.
const FORGOTTEN: u32 = 70;

/// The model.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) world: World,
    pub(crate) now: u32,
    pub(crate) flows: BTreeMap<u64, Flow>,
    /// By arriving tuple: the flow, and the direction.
    keys: HashMap<Tuple, (u64, usize)>,
    /// Ports of datagrams, and when they were seen.
    fragments: HashMap<Fragment, (u16, u16, u32)>,
    next: u64,
    /// Flows that a packet has ended without a new one: whether they are still there is the datapath's affair.
    doubtful: Vec<u64>,
    /// Flows that a packet has broken off, or has not.
    unclear: Vec<u64>,
}

/// What the fragments of a datagram have in common; and which pod they come from, if any.
type Fragment = (IpAddr, IpAddr, u8, u16, u8);

/// Ports of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    Known(Packet),
    Unknown,
}

impl Model {
    /// One without flows.
    pub(crate) fn of(world: World) -> Self {
        Self {
            world,
            ..Self::default()
        }
    }

    /// The live flow that a tuple arrives in, and its direction.
    pub(crate) fn find(&self, tuple: Tuple) -> Option<(u64, usize)> {
        let (id, direction) = *self.keys.get(&tuple)?;
        (self.flows[&id].expires >= self.now).then_some((id, direction))
    }

    /// As [`Self::find`], unless the packet begins a new flow in place of that one.
    pub(crate) fn known(&mut self, packet: &Packet, outside: bool) -> Option<(u64, usize)> {
        let (id, direction) = self.find(packet.key())?;
        if self.replaces(packet, id, direction, outside) {
            self.doubtful.push(id);
            return None;
        }
        Some((id, direction))
    }

    fn replaces(&self, packet: &Packet, id: u64, direction: usize, outside: bool) -> bool {
        let flow = &self.flows[&id];
        let opens = packet.segment().is_some_and(Segment::opens);
        if opens && flow.is_closed() {
            return true;
        }
        let at_pod = matches!(packet.hook, Hook::ToPod | Hook::ToPodFromHost);
        let may_move = !at_pod && (opens || packet.kind == Kind::Datagram);
        may_move && direction == 0 && !self.still_served(flow, outside)
    }

    /// Whether a flow is still what its Service would have.
    fn still_served(&self, flow: &Flow, outside: bool) -> bool {
        match (self.world.frontend(flow.asked), flow.service) {
            (None, None) => true,
            // Only its port was changed, which takes a flow that was there before.
            (Some(_), None) => flow.is_translated(),
            (Some(frontend), Some((service, backend))) => {
                let (_, set) = self.world.set(frontend, outside);
                frontend.service == service && set.members.contains(&backend)
            }
            _ => false,
        }
    }

    /// The flow that a packet belongs to which has been turned before the stack had it, and the packet's direction.
    pub(crate) fn known_as_it_left(&mut self, packet: &Packet) -> Option<(u64, usize)> {
        let (id, other) = self.find(packet.key().reversed())?;
        let direction = 1 - other;
        if self.replaces(packet, id, direction, true) {
            self.doubtful.push(id);
            return None;
        }
        Some((id, direction))
    }

    /// Whether what becomes of a packet cannot be told, or not be seen: at a pod, if its flow depends on whether it has been
    /// turned before; a later fragment, if it begins a flow, whose ports it does not show.
    pub(crate) fn is_ambiguous(&self, packet: &Packet) -> bool {
        let Some(packet) = self.completed(packet) else {
            return false;
        };
        if self.may_be_forgotten(&packet) {
            return true;
        }
        let [one, other] = [packet.key(), packet.key().reversed()].map(|key| self.find(key));
        if matches!(packet.hook, Hook::ToPod | Hook::ToPodFromHost) {
            return one.zip(other).is_some_and(|(one, other)| one.0 != other.0);
        }
        let outside = packet.hook == Hook::FromNet;
        let goes_on = |(id, direction)| !self.replaces(&packet, id, direction, outside);
        !packet.has_header() && !one.is_some_and(goes_on)
    }

    /// Whether the datagram of a later fragment is so old that its ports may be known, or not.
    fn may_be_forgotten(&self, packet: &Packet) -> bool {
        let Part::Later(number) = packet.part else {
            return false;
        };
        let known = self.fragments.get(&fragment(packet, number));
        known.is_some_and(|(.., since)| self.now - since >= REMEMBERED)
    }

    /// Whether packets that arrive as this belong to somebody else already, who is not done with it.
    pub(crate) fn holds(&self, tuple: Tuple) -> bool {
        self.find(tuple)
            .is_some_and(|(id, _)| !self.doubtful.contains(&id) && !self.flows[&id].is_closed())
    }

    /// A packet of a known flow went its way.
    pub(crate) fn touch(&mut self, packet: &Packet, id: u64, direction: usize) {
        let now = self.now;
        let flow = self.flows.get_mut(&id).expect("it was found");
        if flow.sees(packet, direction, now) == Seen::Unclear {
            self.unclear.push(id);
        }
    }

    /// Begins a flow.
    pub(crate) fn begin(&mut self, flow: Flow) -> Judged {
        for direction in 0..2 {
            let key = flow.arrives(direction);
            if self.holds(key) {
                let (id, _) = self.keys[&key];
                return Err(format!("{key:?} belongs to {:?} already", self.flows[&id]));
            }
            if let Some((id, _)) = self.keys.get(&key).copied() {
                self.forget(id);
            }
        }
        self.next += 1;
        for direction in 0..2 {
            self.keys
                .insert(flow.arrives(direction), (self.next, direction));
        }
        self.flows.insert(self.next, flow);
        self.doubtful.clear();
        Ok(())
    }

    fn forget(&mut self, id: u64) {
        if let Some(flow) = self.flows.remove(&id) {
            for direction in 0..2 {
                let key = flow.arrives(direction);
                if self.keys.get(&key).is_some_and(|(owner, _)| *owner == id) {
                    self.keys.remove(&key);
                }
            }
        }
    }

    /// A flow ends in this second, unless a packet comes.
    pub(crate) fn age(&mut self, id: u64, expires: u32) {
        if expires < self.now {
            self.forget(id);
        } else if let Some(flow) = self.flows.get_mut(&id) {
            flow.expires = expires;
        }
    }

    /// The flows that end within so many seconds.
    pub(crate) fn ending(&self, seconds: u32) -> Vec<(u64, Tuple)> {
        let ends = |(id, flow): (&u64, &Flow)| {
            (flow.expires <= self.now + seconds).then_some((*id, flow.asked))
        };
        self.flows.iter().filter_map(ends).collect()
    }

    /// The flows that the last packet has left in doubt: only the datapath can tell.
    pub(crate) fn doubts(&self) -> Vec<Tuple> {
        let ids = self.doubtful.iter().chain(&self.unclear);
        ids.filter_map(|id| Some(self.flows.get(id)?.asked))
            .collect()
    }

    /// Settles the doubts, by what the datapath has.
    pub(crate) fn settle(&mut self, record: impl Fn(Tuple) -> Option<Record>) {
        let now = self.now;
        let live = |flow: &Flow| {
            let found = record(flow.asked)?;
            let is_it = found.arrives[0] == flow.asked && found.expires >= now && !found.ended;
            is_it.then_some(found)
        };
        for id in std::mem::take(&mut self.doubtful) {
            if self.flows.get(&id).is_some_and(|flow| live(flow).is_none()) {
                self.forget(id);
            }
        }
        for id in std::mem::take(&mut self.unclear) {
            if let Some(flow) = self.flows.get_mut(&id)
                && let Some(found) = live(flow)
            {
                (flow.rst, flow.fin) = (found.rst, found.fin);
                flow.expires = found.expires;
            }
        }
    }

    /// The packet with the ports of its datagram.
    pub(crate) fn with_ports(&mut self, packet: &Packet) -> Ports {
        if let Part::First(number) = packet.part {
            let ports = (packet.tuple.from.port(), packet.tuple.to.port());
            let known = (ports.0, ports.1, self.now);
            self.fragments.insert(fragment(packet, number), known);
        }
        self.completed(packet).map_or(Ports::Unknown, Ports::Known)
    }

    /// The packet with the ports that its datagram is known to have.
    fn completed(&self, packet: &Packet) -> Option<Packet> {
        let mut packet = *packet;
        if let Part::Later(number) = packet.part {
            let (from, to, since) = self.fragments.get(&fragment(&packet, number))?;
            if self.now - since > FORGOTTEN {
                return None;
            }
            packet.tuple.from.set_port(*from);
            packet.tuple.to.set_port(*to);
        }
        Some(packet)
    }

    /// Flows that the datapath has, by the tuple of their beginners.
    fn living<'a>(&self, dumps: &'a [Dump; 2]) -> HashMap<Tuple, &'a Record> {
        dumps
            .iter()
            .flat_map(|dump| &dump.records)
            .filter(|record| record.expires >= self.now && !record.ended)
            .map(|record| (record.arrives[0], record))
            .collect()
    }

    /// The last packet came up to so many seconds late: its flow lives on from then.
    pub(crate) fn came_late(&mut self, dumps: &[Dump; 2], late: u32) {
        let records = self.living(dumps);
        for flow in self.flows.values_mut() {
            let expires = records.get(&flow.asked).map_or(0, |record| record.expires);
            if (flow.expires..=flow.expires + late).contains(&expires) {
                flow.expires = expires;
            }
        }
    }

    /// Forgets flows that are not established and whose slots a packet's own flow may have taken: they are in nobody's way
    /// any more.
    pub(crate) fn give_way(&mut self, dumps: &[Dump; 2], packet: &Packet) {
        let records = self.living(dumps);
        let own = [packet.key(), packet.key().reversed()];
        let begun = records.contains_key(&own[0]);
        let lost = |(id, flow): (&u64, &Flow)| {
            let is_own = (0..2).any(|direction| own.contains(&flow.arrives(direction)));
            // One whose answers have the packet's tuple turned round may be what the packet's flow has taken the slot of.
            let is_own = is_own && !(begun && flow.asked != own[0]);
            let gone = !is_own && !flow.assured && !records.contains_key(&flow.asked);
            gone.then_some(*id)
        };
        let lost: Vec<u64> = self.flows.iter().filter_map(lost).collect();
        for id in lost {
            self.forget(id);
        }
    }

    /// Forgets flows whose slots others have taken for want of room. Nobody may take that of an established one.
    pub(crate) fn lose(&mut self, dumps: &[Dump; 2]) -> Judged {
        let records = self.living(dumps);
        let lost = |(id, flow): (&u64, &Flow)| {
            let lives = records.contains_key(&flow.asked);
            (!lives && flow.expires >= self.now).then_some(*id)
        };
        let lost: Vec<u64> = self.flows.iter().filter_map(lost).collect();
        for id in lost {
            let flow = &self.flows[&id];
            if flow.assured && !flow.is_closed() {
                return Err(format!("an established flow was pushed out: {flow:?}"));
            }
            self.forget(id);
        }
        Ok(())
    }

    /// Whether every slot of a family holds an established flow.
    pub(crate) fn is_full(&self, dump: &Dump, slots: usize) -> bool {
        let kept = dump.records.iter().filter(|record| {
            let closed = record.rst[0] || record.rst[1] || record.fin[0] && record.fin[1];
            record.expires >= self.now && record.assured && !closed && !record.ended
        });
        kept.count() == slots
    }

    /// Compares with what the datapath has.
    pub(crate) fn compare(&mut self, dumps: &[Dump; 2]) -> Judged {
        let records = self.living(dumps);
        for flow in self.flows.values() {
            let record = records.get(&flow.asked).ok_or_else(|| {
                let like = dumps.iter().flat_map(|dump| &dump.records);
                let like: Vec<_> = like.filter(|r| r.arrives.contains(&flow.asked)).collect();
                format!("the datapath has lost {flow:?}, and has {like:?}")
            })?;
            is_same(flow, record)?;
        }
        match records
            .iter()
            .find(|(asked, _)| self.find(**asked).is_none())
        {
            Some((_, record)) => Err(format!("the datapath invented {record:?}")),
            None => Ok(()),
        }
    }
}

/// What the fragments of a datagram have in common.
fn fragment(packet: &Packet, number: u16) -> Fragment {
    let (from, to) = packet.addresses();
    let pod = match packet.hook {
        Hook::FromPod => 1,
        Hook::FromNeighbour => 2,
        _ => 0,
    };
    (from, to, packet.tuple.protocol, number, pod)
}

fn is_same(flow: &Flow, record: &Record) -> Judged {
    let (service, backend) = flow.service.unwrap_or_default();
    let right = record.arrives == [flow.arrives(0), flow.arrives(1)]
        && (record.replied, record.assured) == (flow.replied, flow.assured)
        && (record.fin, record.rst) == (flow.fin, flow.rst)
        && (record.service, record.backend) == (service, backend)
        && record.expires.abs_diff(flow.expires) <= TOLERANCE;
    if right {
        Ok(())
    } else {
        Err(format!("expected {flow:?}, found {record:?}"))
    }
}

/// Whether a packet, or the one that it quotes, has ports.
pub(crate) const fn has_ports(packet: &Packet) -> bool {
    matches!(packet.tuple.protocol, TCP | UDP)
}
