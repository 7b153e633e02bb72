//! `TUNNELS4`, `TUNNELS6` (LPM TRIE pods of a node, or one of its addresses → [`TunnelPeer`]): the nodes between which packets may
//! go by the tunnel or encrypted, and the devices by which they go.
//!
//! The tunnel is VXLAN (RFC 7348) by one device without peers of its own: programs say of each packet where it goes, and ask
//! of each where it came from.

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

/// Value of both: the node behind a range.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TunnelPeer {
    /// Where it ends the tunnel, IPv4 mapped to IPv6.
    pub address: Address6,
    /// `TUNNEL_*` bits.
    pub flags: u32,
}

/// Data of a key of `TUNNELS4`: the prefix, which the trie's key has behind its length.
pub type TunnelKey4 = Address4;
/// Data of a key of `TUNNELS6`.
pub type TunnelKey6 = Address6;

/// What goes there takes the tunnel; without it the node may send by it, but is reached directly.
pub const TUNNEL_SEND: u32 = 1 << 0;
/// The range is an address of the node itself: only what a pod sends there takes the tunnel.
pub const TUNNEL_NODE: u32 = 1 << 1;
/// The tunnel goes over IPv6.
pub const TUNNEL_OVER_IPV6: u32 = 1 << 2;

/// The range is reached by the device that encrypts ([`ENCRYPTION_DEVICE`]), and not by the tunnel. In place of an address the
/// value has the device's index in its first word, and in the second the length of a packet for which it has room.
pub const TUNNEL_ENCRYPTED: u32 = 1 << 3;
/// What would go there unencrypted is dropped: nothing leads there; with [`TUNNEL_NODE`], for what pods send.
pub const TUNNEL_CLOSED: u32 = 1 << 4;

/// From this bit on the flags have the length of a packet for which the way to the node has room, if routers have told that it is
/// less than that of the device; else 0.
pub const TUNNEL_ROOM_SHIFT: u32 = 16;

/// Length of an IPv6 packet for which every way must have room (RFC 8200, 5): where a tunnel has less, what is put around it is cut.
pub const LEAST_ROOM6: u32 = 1280;

/// In the number of the network (VNI) of a packet, turned: what is in it came from outside for a Service, and is for a backend of the
/// receiver; or it is the answer.
pub const NETWORK_RELAYED: u32 = 1 << 23;
/// With [`NETWORK_RELAYED`]: the receiver answers the client itself.
pub const NETWORK_DIRECT: u32 = 1 << 22;

/// Value of `RELAYS` (LRU HASH of `u32`, any number that is not 0): where a node ends the tunnel that has relayed packets to
/// this one, IPv4 mapped to IPv6. What answers flows by it uses it, so that those that nobody needs go.
pub type Relay = Address6;

/// Name of the device.
pub const TUNNEL_DEVICE: &str = "weir_vxlan";
/// Hardware address of the device on every node: whatever comes by it is for it.
pub const TUNNEL_MAC: [u8; 6] = [0x02, b'W', b'e', b'i', b'r', 0x03];
/// Hardware address of every sender: a device takes nothing from its own one
/// (<https://elixir.bootlin.com/linux/v6.12/source/drivers/net/vxlan/vxlan_core.c#L1555>).
pub const TUNNEL_SENDER_MAC: [u8; 6] = [0x02, b'W', b'e', b'i', b'r', 0x04];

/// What the tunnel puts around a packet, over IPv4: the inner Ethernet header, VXLAN, UDP and IP.
pub const TUNNEL_ROOM4: u32 = 14 + 8 + 8 + 20;
/// As [`TUNNEL_ROOM4`], over IPv6.
pub const TUNNEL_ROOM6: u32 = 14 + 8 + 8 + 40;

/// Name of the device that encrypts: WireGuard, of which each peer may send from its own addresses only.
pub const ENCRYPTION_DEVICE: &str = "weir_wg";
/// What WireGuard puts around a packet, over IPv4: its header and tag, UDP and IP.
pub const ENCRYPTION_ROOM4: u32 = 32 + 8 + 20;
/// As [`ENCRYPTION_ROOM4`], over IPv6.
pub const ENCRYPTION_ROOM6: u32 = 32 + 8 + 40;

map_types!(TunnelPeer = 20);
