//! All maps with their types.

use std::{collections::BTreeSet, io, net::IpAddr};

use proxy_common::{
    address::{Address4, Address6},
    affinity::{Affinity, AffinityKey},
    backends::{Backend4, Backend6, MemberKey, SlotKey},
    conntrack::{Flow, FlowKey4, FlowKey6, FlowPlace},
    endpoints::Endpoint,
    fragments::{FragmentKey4, FragmentKey6, FragmentPorts},
    frontends::{Frontend, FrontendKey4, FrontendKey6},
    inside::{Inside, InsideKey4, InsideKey6},
    node::{Link, NodeConfig},
    policy::{
        intervals::IntervalBlock,
        peers::{CidrKey4, CidrKey6, Peer, PeerKey4, PeerKey6},
    },
    sockets::Client,
    sources::{SourceKey4, SourceKey6},
};

use super::{
    bpfsys::object,
    clock,
    drops::Drops,
    error::DatapathError,
    flows::{FlowState, Flows},
    handle::MapHandle,
    kernel_table::KernelTable,
    kernel_words::KernelWords,
    pins::Pins,
    prefix::Prefix,
    table::{Table as _, TableError},
    words::Words as _,
};

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapUsage {
    /// Name.
    pub name: String,
    /// The kernel's name of its type.
    pub kind: &'static str,
    /// Id in the kernel.
    pub id: u32,
    /// Entries in use; none where the kernel does not tell.
    pub entries: Option<u32>,
    /// Capacity.
    pub max_entries: u32,
}

/// Declares the struct, how it is opened, and how its use is counted. What is `uncounted` is as full as another map:
/// the index of flows as their records.
macro_rules! declare {
    ($($field:ident: $name:literal, $type:ty $(, $uncounted:ident)?;)+) => {
        /// Every map of an instance. Tables are cheap to clone; each map has one writer.
        #[derive(Clone, Debug)]
        pub struct Maps {
            $(#[doc = concat!("`", $name, "`.")] pub $field: $type,)+
            handles: Vec<MapHandle>,
        }

        /// Their names.
        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[$($name),+];

        impl Maps {
            fn from_handles(open: impl Fn(&str) -> Result<MapHandle, DatapathError>) -> Result<Self, DatapathError> {
                let typed = |handle: &MapHandle, error: io::Error| DatapathError::CorruptPin {
                    path: handle.name().into(),
                    source: error,
                };
                $(
                    let handle = open($name)?;
                    let $field = <$type>::new(handle.clone()).map_err(|e| typed(&handle, e))?;
                )+
                let handles = [$(open($name)),+].into_iter().collect::<Result<_, _>>()?;
                Ok(Self { $($field,)+ handles })
            }

            fn counts(&self) -> Result<Vec<Option<u32>>, TableError> {
                Ok(vec![$(declare!(@count self.$field $(, $uncounted)?)),+])
            }
        }
    };
    (@count $map:expr) => { $map.count()? };
    (@count $map:expr, uncounted) => { None };
}

declare! {
    frontends4: "FRONTENDS4", KernelTable<FrontendKey4, Frontend>;
    frontends6: "FRONTENDS6", KernelTable<FrontendKey6, Frontend>;
    backends4: "BACKENDS4", KernelTable<u32, Backend4>;
    backends6: "BACKENDS6", KernelTable<u32, Backend6>;
    backend_slots: "BACKEND_SLOTS", KernelTable<SlotKey, u32>;
    backend_members: "BACKEND_MEMBERS", KernelTable<MemberKey, u32>;
    affinity: "AFFINITY", KernelTable<AffinityKey, Affinity>;
    flow_index4: "FLOW_INDEX4", KernelTable<FlowKey4, FlowPlace>, uncounted;
    flow_index6: "FLOW_INDEX6", KernelTable<FlowKey6, FlowPlace>, uncounted;
    flows4: "FLOWS4", Flows;
    flows6: "FLOWS6", Flows;
    endpoints: "ENDPOINTS", KernelTable<u32, Endpoint>;
    interfaces: "INTERFACES", KernelTable<u32, u32>;
    local_pods4: "LOCAL_PODS4", KernelTable<Address4, u32>;
    local_pods6: "LOCAL_PODS6", KernelTable<Address6, u32>;
    fragments4: "FRAGMENTS4", KernelTable<FragmentKey4, FragmentPorts>;
    fragments6: "FRAGMENTS6", KernelTable<FragmentKey6, FragmentPorts>;
    clients: "CLIENTS", KernelTable<u64, Client>;
    sources4: "SOURCES4", KernelTable<Prefix<SourceKey4>, u32>;
    sources6: "SOURCES6", KernelTable<Prefix<SourceKey6>, u32>;
    vips4: "VIPS4", KernelTable<Address4, u32>;
    vips6: "VIPS6", KernelTable<Address6, u32>;
    service_epoch: "SERVICE_EPOCH", KernelTable<u32, u32>;
    inside4: "INSIDE4", KernelTable<Prefix<InsideKey4>, Inside>;
    inside6: "INSIDE6", KernelTable<Prefix<InsideKey6>, Inside>;
    node_config: "NODE_CONFIG", KernelTable<u32, NodeConfig>;
    node_addresses4: "NODE_ADDRESSES4", KernelTable<Address4, u32>;
    node_addresses6: "NODE_ADDRESSES6", KernelTable<Address6, u32>;
    links: "LINKS", KernelTable<u32, Link>;
    node_ports: "NODE_PORTS", KernelWords;
    policy_words: "POLICY_WORDS", KernelWords;
    peers4: "PEERS4", KernelTable<PeerKey4, Peer>;
    peers6: "PEERS6", KernelTable<PeerKey6, Peer>;
    cidrs4: "CIDRS4", KernelTable<Prefix<CidrKey4>, Peer>;
    cidrs6: "CIDRS6", KernelTable<Prefix<CidrKey6>, Peer>;
    policy_cells: "POLICY_CELLS", KernelWords;
    intervals: "INTERVALS", KernelTable<u32, IntervalBlock>;
    drops: "DROPS", Drops;
}

impl Maps {
    /// Opens the pinned maps.
    pub(super) fn open(pins: &Pins) -> Result<Self, DatapathError> {
        Self::from_handles(|name| {
            let path = pins.map(name);
            let fd = object::open_map(&path).map_err(|source| DatapathError::NotLoaded {
                path: path.clone(),
                source,
            })?;
            MapHandle::new(name, fd).map_err(DatapathError::corrupt(&path))
        })
    }

    /// The flows of both families, IPv4's first.
    pub fn flows(&self) -> [&Flows; 2] {
        [&self.flows4, &self.flows6]
    }

    /// The cookies of the rules that allowed the flows that live.
    pub fn cookies_of_flows(&self) -> BTreeSet<u32> {
        let now = clock::seconds();
        let flows = self.flows().into_iter().flat_map(Flows::iter);
        let live = flows.filter(|(_, flow)| FlowState::of(flow, now) != FlowState::Expired);
        live.flat_map(|(_, flow)| flow.cookie).collect()
    }

    /// Ends all flows of these endpoints; gives how many.
    pub fn end_flows_of(&self, endpoints: &BTreeSet<u32>) -> u32 {
        let now = clock::seconds();
        let concerned = |flow: &Flow<IpAddr>| {
            let mut ends = flow.endpoint.iter();
            ends.any(|id| endpoints.contains(&u32::from(*id)))
        };
        let flows = self.flows().into_iter();
        flows.map(|flows| flows.end_where(now, concerned)).sum()
    }

    /// Name, type, entries and capacity of every map.
    pub fn usage(&self) -> Result<Vec<MapUsage>, TableError> {
        let counts = self.counts()?;
        let described = self
            .handles
            .iter()
            .zip(counts)
            .map(|(map, entries)| MapUsage {
                name: map.name().to_owned(),
                kind: map.kind().name(),
                id: map.info().id,
                entries,
                max_entries: map.info().max_entries,
            });
        Ok(described.collect())
    }
}

/// How many entries are in use.
trait Count {
    fn count(&self) -> Result<Option<u32>, TableError>;
}

/// Slots of flows that live: those of others are as good as free.
impl Count for Flows {
    fn count(&self) -> Result<Option<u32>, TableError> {
        Ok(Some(self.usage(clock::seconds()).live()))
    }
}

impl<K, V> Count for KernelTable<K, V>
where
    K: aya::Pod + std::fmt::Debug + Ord,
    V: aya::Pod + std::fmt::Debug + PartialEq,
{
    fn count(&self) -> Result<Option<u32>, TableError> {
        Ok(Some(self.entries()?.len() as u32))
    }
}

impl Count for KernelWords {
    fn count(&self) -> Result<Option<u32>, TableError> {
        let used = (0..self.len()).filter(|i| self.get(*i) != 0);
        Ok(Some(used.count() as u32))
    }
}

impl Count for Drops {
    fn count(&self) -> Result<Option<u32>, TableError> {
        Ok(None)
    }
}
