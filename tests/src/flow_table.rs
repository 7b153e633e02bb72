//! The table of flows, read whole and taken apart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use aya::{Pod, maps::MapError};
use proxy_common::{
    address::{Address4, Address6, address4, address6, octets4, octets6},
    conntrack::{
        FLOW_ASSURED, FLOW_BUSY, FLOW_ENDED, FLOW_REPLIED, FLOW_RST_0, FLOW_RST_1, Flow, FlowKey,
        FlowPlace, Head, Tuple as Ends,
    },
};

use crate::packets::Bench;

mod check;

pub use check::consistent;

/// Protocol number of ICMP, here of either family.
pub const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Protocol and ends of a packet. An echo has its identifier as both ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// TCP, UDP or [`ICMP`].
    pub protocol: u8,
    /// Source.
    pub from: SocketAddr,
    /// Destination.
    pub to: SocketAddr,
}

impl Tuple {
    /// That of an answer.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            protocol: self.protocol,
            from: self.to,
            to: self.from,
        }
    }
}

/// An entry of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of packets as they arrive.
    pub tuple: Tuple,
    /// The slot of their flow.
    pub slot: u32,
    /// Their direction.
    pub direction: usize,
    /// The flow's generation.
    pub generation: u16,
}

/// A slot that holds, or held, a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "flags, taken apart")]
pub struct Record {
    /// Its number.
    pub slot: u32,
    /// Counts the flows that it held.
    pub generation: u16,
    /// The second in which it ends.
    pub expires: u32,
    /// By direction: the tuples of packets as they arrive.
    pub arrives: [Tuple; 2],
    /// It has been answered.
    pub replied: bool,
    /// Its beginner has spoken again.
    pub assured: bool,
    /// By direction: who has ended it, as the other one has acknowledged.
    pub fin: [bool; 2],
    /// By direction: who has broken it off.
    pub rst: [bool; 2],
    /// It is over, whatever the time.
    pub ended: bool,
    /// Somebody was about to take it.
    pub busy: bool,
    /// Id of the Service port; 0 for none.
    pub service: u32,
    /// Id of the backend; 0 for none.
    pub backend: u32,
}

/// All flows of a family.
#[derive(Clone, Debug, Default)]
pub struct Dump {
    /// The index.
    pub entries: Vec<Entry>,
    /// Slots in use.
    pub records: Vec<Record>,
}

/// An address as the maps have it.
trait Address: Copy {
    const FAMILY: u8;
    fn ip(self) -> IpAddr;
    fn of(ip: IpAddr) -> Option<Self>;
}

impl Address for Address4 {
    const FAMILY: u8 = 4;

    fn ip(self) -> IpAddr {
        Ipv4Addr::from(octets4(self)).into()
    }

    fn of(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(ip) => Some(address4(ip.octets())),
            IpAddr::V6(_) => None,
        }
    }
}

impl Address for Address6 {
    const FAMILY: u8 = 6;

    fn ip(self) -> IpAddr {
        Ipv6Addr::from(octets6(self)).into()
    }

    fn of(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V6(ip) => Some(address6(ip.octets())),
            IpAddr::V4(_) => None,
        }
    }
}

impl Bench {
    /// All flows: those of IPv4, those of IPv6.
    pub fn dump(&mut self) -> Result<[Dump; 2]> {
        Ok([self.dump_of::<Address4>()?, self.dump_of::<Address6>()?])
    }

    fn dump_of<A: Address>(&mut self) -> Result<Dump>
    where
        FlowKey<A>: Pod,
        Flow<A>: Pod,
    {
        let name = format!("FLOW_INDEX{}", A::FAMILY);
        let index = self.hash::<FlowKey<A>, FlowPlace>(&name)?;
        let entries: Result<Vec<_>, MapError> = index
            .iter()
            .map(|entry| entry.map(|(key, place)| entry_of(&key, place)))
            .collect();
        let name = format!("FLOWS{}", A::FAMILY);
        let slots = self.array::<Flow<A>>(&name)?;
        let mut records = Vec::new();
        for slot in 0..slots.len() {
            let flow = slots
                .get(&slot, 0)
                .with_context(|| format!("read slot {slot} of {name}"))?;
            records.extend(record_of(slot, &flow));
        }
        Ok(Dump {
            entries: entries.with_context(|| format!("read FLOW_INDEX{}", A::FAMILY))?,
            records,
        })
    }

    /// The flow that packets arrive in with this tuple, live or not.
    pub fn record(&mut self, tuple: Tuple) -> Result<Option<Record>> {
        Ok(self
            .record_of::<Address4>(tuple)?
            .or(self.record_of::<Address6>(tuple)?))
    }

    fn record_of<A: Address>(&mut self, tuple: Tuple) -> Result<Option<Record>>
    where
        FlowKey<A>: Pod,
        Flow<A>: Pod,
    {
        let found = self.slot_of::<A>(tuple)?;
        Ok(found.and_then(|(slot, flow)| record_of(slot, &flow)))
    }

    /// Makes the flow that packets arrive in with this tuple end in this second, which may be over.
    pub fn age_flow(&mut self, tuple: Tuple, expires: u32) -> Result<()> {
        let found = self.age_flow_of::<Address4>(tuple, expires)?
            || self.age_flow_of::<Address6>(tuple, expires)?;
        ensure!(found, "no flow of {tuple:?}");
        Ok(())
    }

    fn age_flow_of<A: Address>(&mut self, tuple: Tuple, expires: u32) -> Result<bool>
    where
        FlowKey<A>: Pod,
        Flow<A>: Pod,
    {
        let Some((slot, mut flow)) = self.slot_of::<A>(tuple)? else {
            return Ok(false);
        };
        flow.expires = expires;
        let mut slots = self.array::<Flow<A>>(&format!("FLOWS{}", A::FAMILY))?;
        slots.set(slot, flow, 0).context("write the flow")?;
        Ok(true)
    }

    fn slot_of<A: Address>(&mut self, tuple: Tuple) -> Result<Option<(u32, Flow<A>)>>
    where
        FlowKey<A>: Pod,
        Flow<A>: Pod,
    {
        let Some(key) = key_of::<A>(tuple) else {
            return Ok(None);
        };
        let index = self.hash::<FlowKey<A>, FlowPlace>(&format!("FLOW_INDEX{}", A::FAMILY))?;
        let slot = match index.get(&key, 0) {
            Ok(place) => place.slot(),
            Err(MapError::KeyNotFound) => return Ok(None),
            Err(error) => return Err(error).context("read the index of flows"),
        };
        let slots = self.array::<Flow<A>>(&format!("FLOWS{}", A::FAMILY))?;
        let flow = slots.get(&slot, 0).context("read the flow")?;
        Ok(Some((slot, flow)))
    }
}

fn key_of<A: Address>(tuple: Tuple) -> Option<FlowKey<A>> {
    let source = A::of(tuple.from.ip())?;
    let protocol = match tuple.protocol {
        ICMP if A::FAMILY == 6 => ICMPV6,
        other => other,
    };
    Some(FlowKey {
        tuple: Ends {
            source,
            destination: A::of(tuple.to.ip())?,
            source_port: tuple.from.port().to_be(),
            destination_port: tuple.to.port().to_be(),
        },
        protocol: protocol.into(),
    })
}

fn tuple_of<A: Address>(ends: &Ends<A>, protocol: u8) -> Tuple {
    let at = |address: A, port| SocketAddr::new(address.ip(), u16::from_be(port));
    Tuple {
        protocol: if protocol == ICMPV6 { ICMP } else { protocol },
        from: at(ends.source, ends.source_port),
        to: at(ends.destination, ends.destination_port),
    }
}

fn entry_of<A: Address>(key: &FlowKey<A>, place: FlowPlace) -> Entry {
    Entry {
        tuple: tuple_of(&key.tuple, key.protocol as u8),
        slot: place.slot(),
        direction: place.direction() as usize,
        generation: place.generation as u16,
    }
}

/// None of a slot that holds nothing.
fn record_of<A: Address>(slot: u32, flow: &Flow<A>) -> Option<Record> {
    let head = Head::unpack(flow.head);
    let is = |flag: u16| head.flags & flag != 0;
    if flow.expires == 0 && !is(FLOW_BUSY) {
        return None;
    }
    Some(Record {
        slot,
        generation: head.generation,
        expires: flow.expires,
        arrives: [0, 1].map(|direction| tuple_of(&flow.tuple(direction), head.protocol)),
        replied: is(FLOW_REPLIED),
        assured: is(FLOW_ASSURED),
        fin: [0, 1].map(|direction| head.has_ended(direction)),
        rst: [is(FLOW_RST_0), is(FLOW_RST_1)],
        ended: is(FLOW_ENDED),
        busy: is(FLOW_BUSY),
        service: flow.service,
        backend: flow.backend,
    })
}
