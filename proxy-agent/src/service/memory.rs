//! The maps of Services in memory, failing now and then: for tests of everything that writes them.

use proxy_common::{
    address::{Address4, Address6},
    affinity::{Affinity, AffinityKey},
    backends::{Backend4, Backend6, MemberKey, SlotKey},
    frontends::{Frontend, FrontendKey4, FrontendKey6},
    maglev::{MaglevChunk, MaglevKey},
    node::NODE_PORT_WORDS,
    sources::{SourceKey4, SourceKey6},
};

use super::ServiceTables;
use crate::datapath::{
    memory_table::{Faults, MemoryTable},
    prefix::Prefix,
    table::{Table as _, TableError},
    words::MemoryWords,
};

/// All maps of Services. Clones share their entries.
#[derive(Clone, Debug)]
pub struct MemoryMaps {
    /// `FRONTENDS4`.
    pub frontends4: MemoryTable<FrontendKey4, Frontend>,
    /// `FRONTENDS6`.
    pub frontends6: MemoryTable<FrontendKey6, Frontend>,
    /// `BACKENDS4`.
    pub backends4: MemoryTable<u32, Backend4>,
    /// `BACKENDS6`.
    pub backends6: MemoryTable<u32, Backend6>,
    /// `BACKEND_SLOTS`.
    pub slots: MemoryTable<SlotKey, u32>,
    /// `BACKEND_MEMBERS`.
    pub members: MemoryTable<MemberKey, u32>,
    /// `MAGLEV`.
    pub maglev: MemoryTable<MaglevKey, MaglevChunk>,
    /// `SOURCES4`.
    pub sources4: MemoryTable<Prefix<SourceKey4>, u32>,
    /// `SOURCES6`.
    pub sources6: MemoryTable<Prefix<SourceKey6>, u32>,
    /// `VIPS4`.
    pub vips4: MemoryTable<Address4, u32>,
    /// `VIPS6`.
    pub vips6: MemoryTable<Address6, u32>,
    /// `AFFINITY`.
    pub affinity: MemoryTable<AffinityKey, Affinity>,
    /// `SERVICE_EPOCH`.
    pub epoch: MemoryTable<u32, u32>,
    /// `NODE_PORTS`.
    pub node_ports: MemoryWords,
}

impl MemoryMaps {
    /// Empty maps of a capacity each; `percent` of the writes fail.
    pub fn new(capacity: u32, seed: u64, percent: u64) -> Self {
        let faults = |map| Faults::new(seed.wrapping_mul(16) + map, percent);
        Self {
            frontends4: MemoryTable::new("FRONTENDS4", capacity, faults(0)),
            frontends6: MemoryTable::new("FRONTENDS6", capacity, faults(1)),
            backends4: MemoryTable::new("BACKENDS4", capacity, faults(2)),
            backends6: MemoryTable::new("BACKENDS6", capacity, faults(3)),
            slots: MemoryTable::new("BACKEND_SLOTS", capacity, faults(4)),
            members: MemoryTable::new("BACKEND_MEMBERS", capacity, faults(5)),
            affinity: MemoryTable::new("AFFINITY", capacity, faults(6)),
            maglev: MemoryTable::new("MAGLEV", capacity, faults(12)),
            sources4: MemoryTable::new("SOURCES4", capacity, faults(8)),
            sources6: MemoryTable::new("SOURCES6", capacity, faults(9)),
            vips4: MemoryTable::new("VIPS4", capacity, faults(10)),
            vips6: MemoryTable::new("VIPS6", capacity, faults(11)),
            epoch: MemoryTable::new("SERVICE_EPOCH", 1, faults(7)),
            node_ports: MemoryWords::new(NODE_PORT_WORDS),
        }
    }

    /// The maps as [`ServiceSync`](super::ServiceSync) takes them.
    pub fn tables(&self) -> ServiceTables {
        ServiceTables {
            frontends4: Box::new(self.frontends4.clone()),
            frontends6: Box::new(self.frontends6.clone()),
            backends4: Box::new(self.backends4.clone()),
            backends6: Box::new(self.backends6.clone()),
            slots: Box::new(self.slots.clone()),
            members: Box::new(self.members.clone()),
            maglev: Box::new(self.maglev.clone()),
            sources4: Box::new(self.sources4.clone()),
            sources6: Box::new(self.sources6.clone()),
            vips4: Box::new(self.vips4.clone()),
            vips6: Box::new(self.vips6.clone()),
            affinity: Box::new(self.affinity.clone()),
            epoch: Box::new(self.epoch.clone()),
            node_ports: Box::new(self.node_ports.clone()),
        }
    }

    /// How many entries each map holds that Services alone fill, by name.
    pub fn counts(&self) -> Result<[(&'static str, usize); 11], TableError> {
        Ok([
            ("FRONTENDS4", self.frontends4.entries()?.len()),
            ("FRONTENDS6", self.frontends6.entries()?.len()),
            ("BACKENDS4", self.backends4.entries()?.len()),
            ("BACKENDS6", self.backends6.entries()?.len()),
            ("BACKEND_SLOTS", self.slots.entries()?.len()),
            ("BACKEND_MEMBERS", self.members.entries()?.len()),
            ("MAGLEV", self.maglev.entries()?.len()),
            ("SOURCES4", self.sources4.entries()?.len()),
            ("SOURCES6", self.sources6.entries()?.len()),
            ("VIPS4", self.vips4.entries()?.len()),
            ("VIPS6", self.vips6.entries()?.len()),
        ])
    }
}
