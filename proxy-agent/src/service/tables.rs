//! The maps that Services write.

use proxy_common::{
    address::{Address4, Address6},
    affinity::{Affinity, AffinityKey},
    backends::{Backend4, Backend6, MemberKey, SlotKey},
    frontends::{Frontend, FrontendKey4, FrontendKey6},
    maglev::{MaglevChunk, MaglevKey},
    sources::{SourceKey4, SourceKey6},
};

use crate::datapath::{
    maps::Maps,
    prefix::Prefix,
    table::{SharedTable, Table},
    words::Words,
};

/// All maps of the Service datapath. [`ServiceSync`](super::ServiceSync) is their single writer.
pub struct ServiceTables {
    /// `FRONTENDS4`.
    pub frontends4: Box<dyn SharedTable<FrontendKey4, Frontend>>,
    /// `FRONTENDS6`.
    pub frontends6: Box<dyn SharedTable<FrontendKey6, Frontend>>,
    /// `BACKENDS4`.
    pub backends4: Box<dyn SharedTable<u32, Backend4>>,
    /// `BACKENDS6`.
    pub backends6: Box<dyn SharedTable<u32, Backend6>>,
    /// `BACKEND_SLOTS`.
    pub slots: Box<dyn SharedTable<SlotKey, u32>>,
    /// `BACKEND_MEMBERS`.
    pub members: Box<dyn SharedTable<MemberKey, u32>>,
    /// `MAGLEV`.
    pub maglev: Box<dyn Table<MaglevKey, MaglevChunk>>,
    /// `SOURCES4`.
    pub sources4: Box<dyn SharedTable<Prefix<SourceKey4>, u32>>,
    /// `SOURCES6`.
    pub sources6: Box<dyn SharedTable<Prefix<SourceKey6>, u32>>,
    /// `VIPS4`.
    pub vips4: Box<dyn Table<Address4, u32>>,
    /// `VIPS6`.
    pub vips6: Box<dyn Table<Address6, u32>>,
    /// `AFFINITY`, which the programs write.
    pub affinity: Box<dyn Table<AffinityKey, Affinity>>,
    /// `SERVICE_EPOCH`.
    pub epoch: Box<dyn Table<u32, u32>>,
    /// `NODE_PORTS`.
    pub node_ports: Box<dyn Words>,
}

impl From<&Maps> for ServiceTables {
    fn from(maps: &Maps) -> Self {
        Self {
            frontends4: Box::new(maps.frontends4.clone()),
            frontends6: Box::new(maps.frontends6.clone()),
            backends4: Box::new(maps.backends4.clone()),
            backends6: Box::new(maps.backends6.clone()),
            slots: Box::new(maps.backend_slots.clone()),
            members: Box::new(maps.backend_members.clone()),
            maglev: Box::new(maps.maglev.clone()),
            sources4: Box::new(maps.sources4.clone()),
            sources6: Box::new(maps.sources6.clone()),
            vips4: Box::new(maps.vips4.clone()),
            vips6: Box::new(maps.vips6.clone()),
            affinity: Box::new(maps.affinity.clone()),
            epoch: Box::new(maps.service_epoch.clone()),
            node_ports: Box::new(maps.node_ports.clone()),
        }
    }
}
