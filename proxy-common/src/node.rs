//! `NODE_CONFIG` (ARRAY of one), `NODE_ADDRESSES4`, `NODE_ADDRESSES6` (HASH address → flags, `u32`), `NODE_RANGES4`,
//! `NODE_RANGES6` (LPM TRIE address → flags, `u32`: of large ranges), `ROUTE_MTUS4`, `ROUTE_MTUS6` (LPM TRIE destination → MTU of its
//! route, `u32`; 0 is that of the link), `LINKS` (HASH interface → [`Link`]) and `NODE_PORTS` (ARRAY of words, a bit for each port).

use crate::{
    address::{Address4, Address6},
    conntrack::Timeouts,
    pod::map_types,
};

/// Value of `NODE_CONFIG[0]`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeConfig {
    /// `NODE_*` bits.
    pub flags: u32,
    /// Interface index of `weir_host` ([`crate::host`]); 0 while there is none.
    pub host_device: u32,
    /// Cookie of the node's network namespace (`SO_NETNS_COOKIE`); 0 if unknown.
    pub netns_cookie: u64,
    /// The node's internal IPv4 address; 0 for none.
    pub address4: Address4,
    /// The node's internal IPv6 address; `::` for none.
    pub address6: Address6,
    /// First source port used for translation, host order.
    pub source_port_min: u16,
    /// Last source port used for translation, host order.
    pub source_port_max: u16,
    /// How long flows live.
    pub timeouts: Timeouts,
    /// Seconds since boot until which no flow may begin, and what belongs to none is dropped, because the maps of flows
    /// are being exchanged: what is dropped is sent again. 0 at any other time.
    pub settles: u32,
    /// Interface index of the tunnel's device ([`crate::tunnel`]); 0 while there is none.
    pub tunnel_device: u32,
    /// The length of a packet for which the tunnel has room.
    pub tunnel_mtu: u32,
    /// Number of the tunnel's network (VNI).
    pub tunnel_vni: u32,
    /// UDP port to which the tunnel's packets go, network order; 0 while there is no device.
    pub tunnel_port: u16,
    /// Zero.
    pub pad: u16,
    /// What hashes of flows begin with ([`crate::maglev`]), the same on all nodes.
    pub maglev_seed: u32,
}

/// Value of `LINKS`: a link that carries node traffic, or is left alone; the key is its interface index, `u32`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Link {
    /// Source of what is translated on its way out by this link; 0 is `NodeConfig::address4`.
    pub address4: Address4,
    /// As `address4`; `::` is `NodeConfig::address6`.
    pub address6: Address6,
    /// `LINK_*` bits.
    pub flags: u32,
    /// Hardware address of an Ethernet link; zeros if it is not known.
    pub mac: [u8; 6],
    /// Zero.
    pub pad: [u8; 2],
}

/// Frames of the link have no Ethernet header.
pub const LINK_WITHOUT_ETHERNET: u32 = 1 << 0;
/// The link is left alone: no program of ours is there. What is not in `LINKS` may yet get its programs.
pub const LINK_LEFT_ALONE: u32 = 1 << 1;
/// Programs of XDP at other links may send frames out by it.
pub const LINK_TAKES_FRAMES: u32 = 1 << 2;
/// What comes by it was encrypted, and is for the node and its pods only.
pub const LINK_DECRYPTS: u32 = 1 << 3;
/// The source of what is translated on its way out by the link depends on the route ([`crate::route_sources`]).
pub const LINK_SOURCES_BY_ROUTE: u32 = 1 << 4;

/// Words of 64 bits in `NODE_PORTS`. Bit p (host order; word p / 64, bit p % 64) is set where a frontend, or a backend on the
/// node itself (host network), has port p, whatever address and protocol: only packets with such a port, or one used for
/// source translation, can concern more than the host's own sockets.
pub const NODE_PORT_WORDS: u32 = 1024;

/// Deliver to local pods by `bpf_redirect_peer` and to other nodes by `bpf_redirect_neigh`, past the host's
/// stack and netfilter ("bpf" forwarding); otherwise hand packets to the stack ("stack" forwarding).
pub const NODE_FORWARD_BPF: u32 = 1 << 0;
/// Balance at the socket (`connect`, `sendmsg`); otherwise these programs let everything pass.
pub const NODE_SOCKET_BALANCING: u32 = 1 << 1;
/// Let pods' packets to addresses of their own node pass egress policy.
pub const NODE_ALLOW_EGRESS_TO_NODE: u32 = 1 << 2;
/// What pods send over IPv4 to addresses that are not in `INSIDE4` leaves in the node's name.
pub const NODE_MASQUERADE4: u32 = 1 << 3;
/// The same over IPv6 and of `INSIDE6`.
pub const NODE_MASQUERADE6: u32 = 1 << 4;
/// Answer echo requests for addresses with `VIP_SERVED`.
pub const NODE_ANSWER_PING: u32 = 1 << 5;
/// `TUNNELS*` lead to the device that encrypts, or nowhere (`TUNNEL_ENCRYPTED`, `TUNNEL_CLOSED`).
pub const NODE_ENCRYPTS: u32 = 1 << 6;
/// The tunnel takes what is relayed to other nodes (`FLAG_RELAYED` of frontends).
pub const NODE_RELAYS: u32 = 1 << 7;
/// The way to a node has less room than the tunnel's device ([`crate::tunnel::TUNNEL_ROOM_SHIFT`]).
pub const NODE_NARROW: u32 = 1 << 8;
/// Addresses that are not in `NODE_ADDRESSES*` may be in `NODE_RANGES*`.
pub const NODE_HAS_RANGES: u32 = 1 << 9;
/// Some routes have an MTU of their own: `ROUTE_MTUS*`.
pub const NODE_HAS_ROUTE_MTUS: u32 = 1 << 10;

/// Data of a key of `NODE_RANGES4`: the prefix, which the trie's key has behind its length.
pub type RangeKey4 = Address4;
/// Data of a key of `NODE_RANGES6`.
pub type RangeKey6 = Address6;
/// Data of a key of `ROUTE_MTUS4`.
pub type MtuKey4 = Address4;
/// Data of a key of `ROUTE_MTUS6`.
pub type MtuKey6 = Address6;

/// `NODE_ADDRESSES*`: an address of this node that serves `NodePort`s.
pub const ADDRESS_NODE_PORT: u32 = 1 << 0;
/// `NODE_ADDRESSES*`: an address of this node (all of them have it, loopback too).
pub const ADDRESS_LOCAL: u32 = 1 << 1;
/// `NODE_ADDRESSES*`: an address of this node that serves `hostPort`s (all but loopback, which only processes
/// of the node itself reach).
pub const ADDRESS_HOST_PORT: u32 = 1 << 2;

map_types!(NodeConfig = 80, Link = 32);
