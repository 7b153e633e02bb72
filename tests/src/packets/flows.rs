//! Reading the flows, and making time go by for them.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use proxy_common::conntrack::{FLOW_ENDED, FlowPlace, Head};

use super::bench::Bench;
use crate::family::{Facts, Family, Four, Six};

/// A flow, as a packet finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its slot.
    pub slot: u32,
    /// The packet's direction.
    pub direction: usize,
    /// What is known of it.
    pub facts: Facts,
    /// Source and destination into which packets of both directions are turned.
    pub targets: [(SocketAddr, SocketAddr); 2],
}

impl Entry {
    /// Source and destination into which the packet is turned.
    pub fn target(&self) -> (SocketAddr, SocketAddr) {
        self.targets[self.direction]
    }

    /// `FLOW_*` bits.
    pub fn flags(&self) -> u16 {
        self.facts.head.flags
    }
}

impl Bench {
    /// The flow of a packet that arrives with this source and destination, live or not.
    pub fn flow(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        protocol: u8,
    ) -> Result<Option<Entry>> {
        if source.is_ipv4() {
            self.flow_of::<Four>(Four::flow(source, destination, protocol))
        } else {
            self.flow_of::<Six>(Six::flow(source, destination, protocol))
        }
    }

    fn flow_of<F: Family>(&mut self, key: Option<F::FlowKey>) -> Result<Option<Entry>> {
        let key = key.context("both ends are of one family")?;
        let index = self.hash::<F::FlowKey, FlowPlace>(&F::map("FLOW_INDEX"))?;
        let Ok(place) = index.get(&key, 0) else {
            return Ok(None);
        };
        let flow = self
            .array::<F::Flow>(&F::map("FLOWS"))?
            .get(&place.slot(), 0)?;
        let facts = F::facts(&flow);
        ensure!(
            u32::from(facts.head.generation) == place.generation,
            "{place:?} names a flow that is gone: {facts:?}"
        );
        Ok(Some(Entry {
            slot: place.slot(),
            direction: place.direction() as usize,
            facts,
            targets: [F::target(&flow, 0), F::target(&flow, 1)],
        }))
    }

    /// Makes a flow expire so many seconds earlier, as if they had gone by since its last packet.
    pub fn age(&mut self, ends: [SocketAddr; 2], protocol: u8, seconds: u32) -> Result<()> {
        self.change(ends, protocol, |_, expires| {
            *expires = expires.saturating_sub(seconds).max(1);
        })
    }

    /// Ends a flow, as the agent does when its pod is gone.
    pub fn end(&mut self, ends: [SocketAddr; 2], protocol: u8) -> Result<()> {
        self.change(ends, protocol, |head, _| *head = ended(*head))
    }

    /// Ends all flows.
    pub fn end_all(&mut self) -> Result<()> {
        self.end_all_of::<Four>()?;
        self.end_all_of::<Six>()
    }

    fn end_all_of<F: Family>(&mut self) -> Result<()> {
        let index = self.hash::<F::FlowKey, FlowPlace>(&F::map("FLOW_INDEX"))?;
        let places = index.iter().map(|entry| entry.map(|(_, place)| place));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        for place in places {
            self.change_of::<F>(place.slot(), |head, _| *head = ended(*head))?;
        }
        Ok(())
    }

    fn change(
        &mut self,
        [source, destination]: [SocketAddr; 2],
        protocol: u8,
        change: impl Fn(&mut u64, &mut u32),
    ) -> Result<()> {
        let entry = self
            .flow(source, destination, protocol)?
            .context("the flow is there")?;
        if source.is_ipv4() {
            self.change_of::<Four>(entry.slot, change)
        } else {
            self.change_of::<Six>(entry.slot, change)
        }
    }

    fn change_of<F: Family>(
        &mut self,
        slot: u32,
        change: impl Fn(&mut u64, &mut u32),
    ) -> Result<()> {
        let mut flows = self.array::<F::Flow>(&F::map("FLOWS"))?;
        let mut flow = flows.get(&slot, 0)?;
        let (head, expires) = F::life(&mut flow);
        change(head, expires);
        flows.set(slot, flow, 0).context("write the flow")
    }
}

fn ended(head: u64) -> u64 {
    let flow = Head::unpack(head);
    let flags = flow.flags | FLOW_ENDED;
    Head { flags, ..flow }.pack()
}
