//! Balancing at the socket: a process that connects to a frontend is connected to a backend, once, so that
//! no packet needs translation.
//!
//! `connect` and `sendmsg` choose and rewrite; `recvmsg` and `getpeername` show the process the frontend that
//! it asked for; `sock_release` cleans up. The logic is generic over where an address stands
//! ([`place::Place`]): IPv4 sockets, IPv6 sockets, and IPv6 sockets that speak IPv4.

pub mod affinity;
pub mod choice;
pub mod connect;
pub mod context;
pub mod peer;
pub mod place;
pub mod receive;
pub mod send;

#[cfg(target_arch = "bpf")]
mod hooks;
