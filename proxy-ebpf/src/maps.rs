//! Every pinned map, under its name. Keys and values are `proxy_common`'s. Maps that are declared elsewhere are private to
//! one load of the programs, and are not pinned (`PRIVATE` in the agent's `datapath/object.rs`).
//!
//! The capacities here are small and only serve to load the object by hand: the agent sets its own
//! (`datapath/capacities.rs`). Logic reaches the maps of a family through [`Family`].

mod families;
mod family;

use aya_ebpf::{
    Global,
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps,
    macros::btf_map,
};
use proxy_common::{
    affinity::{Affinity, AffinityKey},
    backends::{Backend4, Backend6, MemberKey, SlotKey},
    conntrack::{Flow, FlowKey4, FlowKey6, FlowPlace},
    counters::{Counter, REASON_LIMIT},
    endpoints::{Endpoint, MAX_ENDPOINTS},
    fragments::{FragmentKey4, FragmentKey6, FragmentPorts},
    frontends::{Frontend, FrontendKey4, FrontendKey6},
    inside::{Inside, InsideKey4, InsideKey6},
    maglev::{MaglevChunk, MaglevKey},
    node::{Link, MtuKey4, MtuKey6, NODE_PORT_WORDS, NodeConfig, RangeKey4, RangeKey6},
    pace::Pace,
    policy::{
        cells::CELLS_DEFAULT,
        intervals::{BLOCKS_DEFAULT, IntervalBlock},
        peers::{CidrKey4, CidrKey6, Peer, PeerKey4, PeerKey6},
    },
    route_sources::{RouteSourceKey4, RouteSourceKey6},
    sockets::{Client, SocketPeer},
    sources::{SourceKey4, SourceKey6},
    tunnel::{Relay, TunnelKey4, TunnelKey6, TunnelPeer},
};

pub use families::{V4, V6};
pub use family::Family;

const ENTRIES: usize = 1024;
/// Far more than nodes, for each processor sets free entries aside.
const RELAYS_MAX: usize = 1 << 13;
/// Far more limits of bandwidth than a node has pods: two each.
const PACES_MAX: usize = 1 << 13;
/// Slots of `FLOWS*`; the index holds two keys for each.
const SLOTS: usize = 512;
const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;
const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

/// How many slots `FLOWS4` and `FLOWS6` have, each: set by whoever sets their capacity.
#[unsafe(no_mangle)]
pub static FLOW_SLOTS: Global<u32> = Global::new(SLOTS as u32);

/// A hash map whose entries are allocated as they come.
pub type Hash<K, V> = btf_maps::HashMap<K, V, ENTRIES, NO_PREALLOC>;
/// A hash map that evicts.
pub type Lru<K, V> = btf_maps::LruHashMap<K, V, ENTRIES>;
/// Longest prefix match.
pub type Trie<K, V> = btf_maps::LpmTrie<K, V, ENTRIES>;
/// The records of flows.
pub type Flows<A> = btf_maps::Array<Flow<A>, SLOTS, MMAPABLE>;
/// An array of words that the agent maps into its memory.
pub type Words<const N: usize> = btf_maps::Array<u64, N, MMAPABLE>;

/// Declares maps: name, type.
macro_rules! maps {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)+) => {$(
        $(#[$doc])*
        #[btf_map]
        pub static $name: $type = <$type>::new();
    )+};
}

maps! {
    /// See `proxy_common::frontends`.
    FRONTENDS4: Hash<FrontendKey4, Frontend>;
    /// See `proxy_common::frontends`.
    FRONTENDS6: Hash<FrontendKey6, Frontend>;
    /// See `proxy_common::backends`.
    BACKENDS4: Hash<u32, Backend4>;
    /// See `proxy_common::backends`.
    BACKENDS6: Hash<u32, Backend6>;
    /// See `proxy_common::backends`.
    BACKEND_SLOTS: Hash<SlotKey, u32>;
    /// See `proxy_common::backends`.
    BACKEND_MEMBERS: Hash<MemberKey, u32>;
    /// See `proxy_common::maglev`.
    MAGLEV: Hash<MaglevKey, MaglevChunk>;
    /// See `proxy_common::affinity`.
    AFFINITY: Lru<AffinityKey, Affinity>;
    /// See `proxy_common::conntrack`.
    FLOW_INDEX4: Hash<FlowKey4, FlowPlace>;
    /// See `proxy_common::conntrack`.
    FLOW_INDEX6: Hash<FlowKey6, FlowPlace>;
    /// See `proxy_common::conntrack`.
    FLOWS4: Flows<u32>;
    /// See `proxy_common::conntrack`.
    FLOWS6: Flows<[u32; 4]>;
    /// See `proxy_common::endpoints`.
    ENDPOINTS: btf_maps::Array<Endpoint, { MAX_ENDPOINTS as usize }>;
    /// See `proxy_common::endpoints`.
    INTERFACES: Hash<u32, u32>;
    /// See `proxy_common::endpoints`.
    LOCAL_PODS4: Hash<u32, u32>;
    /// See `proxy_common::endpoints`.
    LOCAL_PODS6: Hash<[u32; 4], u32>;
    /// See `proxy_common::fragments`.
    FRAGMENTS4: Lru<FragmentKey4, FragmentPorts>;
    /// See `proxy_common::fragments`.
    FRAGMENTS6: Lru<FragmentKey6, FragmentPorts>;
    /// See `proxy_common::sockets`.
    SOCKET_PEER: btf_maps::SkStorage<SocketPeer>;
    /// See `proxy_common::sockets`.
    CLIENTS: Hash<u64, Client>;
    /// See `proxy_common::sources`.
    SOURCES4: Trie<SourceKey4, u32>;
    /// See `proxy_common::sources`.
    SOURCES6: Trie<SourceKey6, u32>;
    /// See `proxy_common::vips`.
    VIPS4: Hash<u32, u32>;
    /// See `proxy_common::vips`.
    VIPS6: Hash<[u32; 4], u32>;
    /// See `proxy_common::frontends`.
    SERVICE_EPOCH: btf_maps::Array<u32, 1, MMAPABLE>;
    /// See `proxy_common::inside`.
    INSIDE4: Trie<InsideKey4, Inside>;
    /// See `proxy_common::inside`.
    INSIDE6: Trie<InsideKey6, Inside>;
    /// See `proxy_common::route_sources`.
    ROUTE_SOURCES4: Trie<RouteSourceKey4, u32>;
    /// See `proxy_common::route_sources`.
    ROUTE_SOURCES6: Trie<RouteSourceKey6, [u32; 4]>;
    /// See `proxy_common::tunnel`.
    TUNNELS4: Trie<TunnelKey4, TunnelPeer>;
    /// See `proxy_common::tunnel`.
    TUNNELS6: Trie<TunnelKey6, TunnelPeer>;
    /// See `proxy_common::tunnel`.
    RELAYS: btf_maps::LruHashMap<u32, Relay, RELAYS_MAX>;
    /// See `proxy_common::pace`.
    PACES: btf_maps::HashMap<u32, Pace, PACES_MAX, NO_PREALLOC>;
    /// See `proxy_common::node`.
    NODE_CONFIG: btf_maps::Array<NodeConfig, 1>;
    /// See `proxy_common::node`.
    NODE_ADDRESSES4: Hash<u32, u32>;
    /// See `proxy_common::node`.
    NODE_ADDRESSES6: Hash<[u32; 4], u32>;
    /// See `proxy_common::node`.
    NODE_RANGES4: Trie<RangeKey4, u32>;
    /// See `proxy_common::node`.
    NODE_RANGES6: Trie<RangeKey6, u32>;
    /// See `proxy_common::node`.
    ROUTE_MTUS4: Trie<MtuKey4, u32>;
    /// See `proxy_common::node`.
    ROUTE_MTUS6: Trie<MtuKey6, u32>;
    /// See `proxy_common::node`.
    LINKS: Hash<u32, Link>;
    /// See `proxy_common::node`.
    NODE_PORTS: Words<{ NODE_PORT_WORDS as usize }>;
    /// See `proxy_common::policy::words`.
    POLICY_WORDS: Words<{ MAX_ENDPOINTS as usize }>;
    /// See `proxy_common::policy::peers`.
    PEERS4: Hash<PeerKey4, Peer>;
    /// See `proxy_common::policy::peers`.
    PEERS6: Hash<PeerKey6, Peer>;
    /// See `proxy_common::policy::peers`.
    CIDRS4: Trie<CidrKey4, Peer>;
    /// See `proxy_common::policy::peers`.
    CIDRS6: Trie<CidrKey6, Peer>;
    /// See `proxy_common::policy::cells`.
    POLICY_CELLS: Words<{ CELLS_DEFAULT as usize }>;
    /// See `proxy_common::policy::intervals`.
    INTERVALS: btf_maps::Array<IntervalBlock, { BLOCKS_DEFAULT as usize }>;
    /// See `proxy_common::counters`.
    DROPS: btf_maps::PerCpuArray<Counter, { REASON_LIMIT as usize }>;
}
