//! `SOCKET_PEER` (SK STORAGE) and `SOCKET_REVERSE4`, `SOCKET_REVERSE6` (LRU HASH): what a socket believes
//! that it talks to, for `getpeername` and `recvmsg`.

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

/// Key of `SOCKET_REVERSE4`: a datagram that a socket may receive.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketReverseKey4 {
    /// Socket cookie.
    pub cookie: u64,
    /// Backend's address.
    pub address: Address4,
    /// Backend's port, network order.
    pub port: u16,
    /// Zero.
    pub pad: u16,
}

/// Value of `SOCKET_REVERSE4`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketReverse4 {
    /// Frontend's address.
    pub address: Address4,
    /// Frontend's port, network order.
    pub port: u16,
    /// Zero.
    pub pad: u16,
}

/// Key of `SOCKET_REVERSE6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketReverseKey6 {
    /// Socket cookie.
    pub cookie: u64,
    /// Backend's address.
    pub address: Address6,
    /// Backend's port, network order.
    pub port: u16,
    /// Zero.
    pub pad: [u16; 3],
}

/// Value of `SOCKET_REVERSE6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketReverse6 {
    /// Frontend's address.
    pub address: Address6,
    /// Frontend's port, network order.
    pub port: u16,
    /// Zero.
    pub pad: u16,
}

map_types!(
    SocketPeer = 44,
    SocketReverseKey4 = 16,
    SocketReverse4 = 8,
    SocketReverseKey6 = 32,
    SocketReverse6 = 20
);
