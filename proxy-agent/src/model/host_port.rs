//! What pods tell Services.

use std::net::{IpAddr, SocketAddr};

use super::Protocol;

/// A port of the node that leads to a port of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// `hostIP`; unspecified for all addresses of the node in its family.
    pub address: IpAddr,
    /// `hostPort`.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The pod, in the same family.
    pub to: SocketAddr,
}
