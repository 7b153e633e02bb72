//! `SOCKET_PEER` (SK STORAGE): what a connected socket believes that it talks to, for `getpeername`. `CLIENTS` (HASH
//! network namespace → addresses): whose call it is, for affinity, and whether it is to be balanced.
//!
//! Only TCP is balanced at the socket. Datagrams are translated packet by packet, where a flow follows its Service.

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

/// Value of `SOCKET_PEER`, on connected sockets. IPv4 is mapped into IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketPeer {
    /// Frontend's address.
    pub frontend: Address6,
    /// Backend's address.
    pub backend: Address6,
    /// Frontend's port, network order.
    pub frontend_port: u16,
    /// Backend's port, network order.
    pub backend_port: u16,
    /// Id of the backend.
    pub backend_id: u32,
    /// Id of the Service port.
    pub service: u32,
}

/// Value of `CLIENTS`; the key is the cookie of a network namespace (`SO_NETNS_COOKIE`), `u64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Client {
    /// The pod's IPv4 address; 0 for none.
    pub address4: Address4,
    /// The pod's IPv6 address; `::` for none.
    pub address6: Address6,
    /// `CLIENT_*` bits.
    pub flags: u32,
}

/// The pod's connections are translated packet by packet: its sockets see what they asked for.
pub const CLIENT_BY_PACKET: u32 = 1 << 0;

map_types!(SocketPeer = 44, Client = 24);
