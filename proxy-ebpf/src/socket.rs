//! Socket load balancing: a process that connects to a frontend by TCP is connected to a backend, once, so that
//! no packet needs translation.
//!
//! `connect` chooses and rewrites; `getpeername` shows the process the frontend that it asked for. The logic is generic
//! over where an address stands ([`place::Place`]): IPv4 sockets, IPv6 sockets, and IPv6 sockets that speak IPv4.
//! Datagrams are left to the packets' path, where a flow follows its Service: a socket would keep a backend that is gone.

pub mod affinity;
pub mod choice;
pub mod connect;
pub mod context;
pub mod peer;
pub mod place;

#[cfg(target_arch = "bpf")]
mod hooks;
