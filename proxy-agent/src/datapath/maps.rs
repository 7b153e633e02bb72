//! All maps with their types.

use std::{collections::BTreeSet, io, net::IpAddr, os::fd::OwnedFd};

use proxy_common::{
    address::{Address4, Address6},
    affinity::{Affinity, AffinityKey},
    backends::{Backend4, Backend6, MemberKey, SlotKey},
    conntrack::{FLOW_RELAYED, Flow, FlowKey4, FlowKey6, FlowPlace, Head},
    endpoints::Endpoint,
    fragments::{FragmentKey4, FragmentKey6, FragmentPorts},
    frontends::{Frontend, FrontendKey4, FrontendKey6},
    inside::{Inside, InsideKey4, InsideKey6},
    maglev::{MaglevChunk, MaglevKey},
    node::{Link, MtuKey4, MtuKey6, NodeConfig, RangeKey4, RangeKey6},
    pace::Pace,
    policy::{
        intervals::IntervalBlock,
        peers::{CidrKey4, CidrKey6, Peer, PeerKey4, PeerKey6},
    },
    route_sources::{RouteSourceKey4, RouteSourceKey6},
    sockets::Client,
    sources::{SourceKey4, SourceKey6},
    tunnel::{Relay, TunnelKey4, TunnelKey6, TunnelPeer},
};

use super::{
    bpfsys::object::{self, MapInfo},
    clock,
    drops::Drops,
    error::DatapathError,
    flows::{FlowState, FlowUsage, Flows},
    handle::MapHandle,
    kernel_table::KernelTable,
    kernel_words::KernelWords,
    living::{self, AFFINITY},
    pins::Pins,
    prefix::Prefix,
    resizable::Resizable,
    rows,
    shared::Standing,
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

/// Written by programs too: what follows them lacks what they write, until it is copied again.
pub(super) const OF_PROGRAMS: [&str; 4] = ["AFFINITY", "FRAGMENTS4", "FRAGMENTS6", "RELAYS"];

/// Written by programs alone: the agent has no table for them.
pub(super) const PROGRAMS_OWN: [&str; 1] = ["SOCKET_PEER"];

/// Declares the struct, how it is opened, and how its use is counted. What is `uncounted` is as full as another map:
/// the index of flows as their records; or in another way. To those of `programs` not only the agent writes.
macro_rules! declare {
    ($($field:ident: $name:literal, $type:ty $(, $how:ident)?;)+) => {
        /// Every map of an instance. Tables are cheap to clone; each map has one writer.
        #[derive(Clone, Debug)]
        pub struct Maps {
            $(#[doc = concat!("`", $name, "`.")] pub $field: $type,)+
            /// For who writes on another thread than the main loop.
            pub standing: Standing,
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
                let mut handles = Vec::new();
                $(
                    let handle = open($name)?;
                    let $field = <$type>::new(handle.clone()).map_err(|e| typed(&handle, e))?;
                    handles.push(handle);
                )+
                Ok(Self { $($field,)+ standing: Standing::default(), handles })
            }

            /// The map of this name, and its name.
            pub(super) fn named(&self, name: &str) -> Option<(&'static str, &dyn Resizable)> {
                match name {
                    $($name => Some(($name, &self.$field)),)+
                    _ => None,
                }
            }

            fn counts(&self) -> Result<Vec<Option<u32>>, TableError> {
                Ok(vec![$(declare!(@count self.$field $(, $how)?)),+])
            }
        }
    };
    (@count $map:expr) => { $map.count()? };
    (@count $map:expr, programs) => { Some($map.used()?) };
    (@count $map:expr, uncounted) => { None };
}

declare! {
    frontends4: "FRONTENDS4", KernelTable<FrontendKey4, Frontend>;
    frontends6: "FRONTENDS6", KernelTable<FrontendKey6, Frontend>;
    backends4: "BACKENDS4", KernelTable<u32, Backend4>;
    backends6: "BACKENDS6", KernelTable<u32, Backend6>;
    backend_slots: "BACKEND_SLOTS", KernelTable<SlotKey, u32>;
    backend_members: "BACKEND_MEMBERS", KernelTable<MemberKey, u32>;
    maglev: "MAGLEV", KernelTable<MaglevKey, MaglevChunk>;
    affinity: "AFFINITY", KernelTable<AffinityKey, Affinity>, uncounted;
    flow_index4: "FLOW_INDEX4", KernelTable<FlowKey4, FlowPlace>, uncounted;
    flow_index6: "FLOW_INDEX6", KernelTable<FlowKey6, FlowPlace>, uncounted;
    flows4: "FLOWS4", Flows, uncounted;
    flows6: "FLOWS6", Flows, uncounted;
    endpoints: "ENDPOINTS", KernelTable<u32, Endpoint>;
    interfaces: "INTERFACES", KernelTable<u32, u32>;
    local_pods4: "LOCAL_PODS4", KernelTable<Address4, u32>;
    local_pods6: "LOCAL_PODS6", KernelTable<Address6, u32>;
    fragments4: "FRAGMENTS4", KernelTable<FragmentKey4, FragmentPorts>, programs;
    fragments6: "FRAGMENTS6", KernelTable<FragmentKey6, FragmentPorts>, programs;
    clients: "CLIENTS", KernelTable<u64, Client>;
    sources4: "SOURCES4", KernelTable<Prefix<SourceKey4>, u32>;
    sources6: "SOURCES6", KernelTable<Prefix<SourceKey6>, u32>;
    vips4: "VIPS4", KernelTable<Address4, u32>;
    vips6: "VIPS6", KernelTable<Address6, u32>;
    service_epoch: "SERVICE_EPOCH", KernelTable<u32, u32>;
    inside4: "INSIDE4", KernelTable<Prefix<InsideKey4>, Inside>;
    inside6: "INSIDE6", KernelTable<Prefix<InsideKey6>, Inside>;
    route_sources4: "ROUTE_SOURCES4", KernelTable<Prefix<RouteSourceKey4>, Address4>;
    route_sources6: "ROUTE_SOURCES6", KernelTable<Prefix<RouteSourceKey6>, Address6>;
    tunnels4: "TUNNELS4", KernelTable<Prefix<TunnelKey4>, TunnelPeer>;
    tunnels6: "TUNNELS6", KernelTable<Prefix<TunnelKey6>, TunnelPeer>;
    relays: "RELAYS", KernelTable<u32, Relay>, programs;
    paces: "PACES", KernelTable<u32, Pace>;
    node_config: "NODE_CONFIG", KernelTable<u32, NodeConfig>;
    node_addresses4: "NODE_ADDRESSES4", KernelTable<Address4, u32>;
    node_addresses6: "NODE_ADDRESSES6", KernelTable<Address6, u32>;
    node_ranges4: "NODE_RANGES4", KernelTable<Prefix<RangeKey4>, u32>;
    node_ranges6: "NODE_RANGES6", KernelTable<Prefix<RangeKey6>, u32>;
    route_mtus4: "ROUTE_MTUS4", KernelTable<Prefix<MtuKey4>, u32>;
    route_mtus6: "ROUTE_MTUS6", KernelTable<Prefix<MtuKey6>, u32>;
    links: "LINKS", KernelTable<u32, Link>;
    node_ports: "NODE_PORTS", KernelWords;
    policy_words: "POLICY_WORDS", KernelWords;
    peers4: "PEERS4", KernelTable<PeerKey4, Peer>;
    peers6: "PEERS6", KernelTable<PeerKey6, Peer>;
    cidrs4: "CIDRS4", KernelTable<Prefix<CidrKey4>, Peer>;
    cidrs6: "CIDRS6", KernelTable<Prefix<CidrKey6>, Peer>;
    policy_cells: "POLICY_CELLS", KernelWords, uncounted;
    intervals: "INTERVALS", KernelTable<u32, IntervalBlock>, uncounted;
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

    pub(super) fn resizable(&self, name: &str) -> Option<&dyn Resizable> {
        self.named(name).map(|(_, map)| map)
    }

    /// What the kernel says about the map of this name.
    pub(super) fn info(&self, name: &str) -> Option<MapInfo> {
        let handle = self.handles.iter().find(|handle| handle.name() == name)?;
        Some(handle.info())
    }

    /// All of them.
    pub(super) fn handles(&self) -> &[MapHandle] {
        &self.handles
    }

    /// Puts another map in the place of the one of this name.
    pub(super) fn exchange(&self, name: &str, other: OwnedFd) -> io::Result<()> {
        if let Some(handle) = self.handles.iter().find(|handle| handle.name() == name) {
            handle.exchange(other.try_clone()?)?;
        }
        match self.resizable(name) {
            Some(map) => map.exchange(other),
            None => Ok(()),
        }
    }

    /// The flows of both families, IPv4's first.
    pub fn flows(&self) -> [&Flows; 2] {
        [&self.flows4, &self.flows6]
    }

    /// Ids of the maps of flows, IPv4's first: others when they have been exchanged.
    pub fn ids_of_flows(&self) -> [Option<u32>; 2] {
        ["FLOWS4", "FLOWS6"].map(|name| self.info(name).map(|info| info.id))
    }

    /// The cookies of the rules that allowed the flows that live.
    pub fn cookies_of_flows(&self) -> BTreeSet<u32> {
        let now = clock::seconds();
        let flows = self.flows().into_iter().flat_map(Flows::iter);
        let live = flows.filter(|(_, flow)| FlowState::of(flow, now) != FlowState::Expired);
        let relayed = |flow: &Flow<IpAddr>| Head::unpack(flow.head).flags & FLOW_RELAYED != 0;
        let live = live.filter(|(_, flow)| flow.endpoint != [0; 2] || !relayed(flow));
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

    /// How many cells rows in force take, and one more than the last of them.
    pub(super) fn cells_in_force(&self) -> (u32, u32) {
        rows::extent(&self.policy_words, &self.policy_cells)
    }

    /// How many blocks their lists take, and one more than the last of them.
    pub(super) fn blocks_in_force(&self) -> Result<(u32, u32), TableError> {
        let read = |number: u32| self.intervals.get(&number);
        rows::blocks(&self.policy_words, &self.policy_cells, read)
    }

    /// The least capacity that all entries of the map of this name fit in.
    pub(super) fn reach(&self, name: &str) -> Result<u32, TableError> {
        match name {
            "POLICY_CELLS" => Ok(self.cells_in_force().1),
            "INTERVALS" => Ok(self.blocks_in_force()?.1),
            _ => self.resizable(name).map_or(Ok(0), Resizable::reach),
        }
    }

    /// Name, type, entries and capacity of every map.
    pub fn usage(&self) -> Result<Vec<MapUsage>, TableError> {
        let now = clock::seconds();
        self.usage_beside(self.flows().map(|flows| flows.usage(now)))
    }

    /// As [`Self::usage`], where flows have been counted: to go through them takes the longest.
    pub fn usage_beside(&self, flows: [FlowUsage; 2]) -> Result<Vec<MapUsage>, TableError> {
        let counts = self.counts()?;
        let blocks = self.blocks_in_force()?.0;
        let (affinities, of) = (self.affinity.used()?, self.affinity.capacity());
        let affinities = living::affinities(self, affinities, of)?;
        let described = self
            .handles
            .iter()
            .zip(counts)
            .map(|(map, entries)| MapUsage {
                name: map.name().to_owned(),
                kind: map.kind().name(),
                id: map.info().id,
                entries: match map.name() {
                    "POLICY_CELLS" => Some(self.cells_in_force().0),
                    "INTERVALS" => Some(blocks),
                    // Slots of others are as good as free.
                    "FLOWS4" => Some(flows[0].live()),
                    "FLOWS6" => Some(flows[1].live()),
                    // So are those whose time is over.
                    AFFINITY => Some(affinities),
                    _ => entries,
                },
                max_entries: map.info().max_entries,
            });
        Ok(described.collect())
    }
}

/// How many entries are in use.
trait Count {
    fn count(&self) -> Result<Option<u32>, TableError>;
}

impl<K, V> Count for KernelTable<K, V>
where
    K: aya::Pod + std::fmt::Debug + Ord,
    V: aya::Pod + std::fmt::Debug + PartialEq,
{
    fn count(&self) -> Result<Option<u32>, TableError> {
        Ok(Some(self.used_of_ours()?))
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
