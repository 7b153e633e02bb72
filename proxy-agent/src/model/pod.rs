//! Pod and Namespace, as far as policy and delivery need them.

use std::net::IpAddr;

use super::{Labels, ObjectName, Protocol};

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Name.
    pub name: ObjectName,
    /// UID.
    pub uid: String,
    /// Labels.
    pub labels: Labels,
    /// `spec.nodeName`; empty while not scheduled.
    pub node: String,
    /// `status.podIPs`.
    pub ips: Vec<IpAddr>,
    /// `spec.hostNetwork`: neither subject nor selectable peer of policies.
    pub host_network: bool,
    /// Phase Succeeded or Failed: holds no address any more.
    pub terminated: bool,
    /// Named ports of containers and restartable init containers.
    pub named_ports: Vec<ContainerPort>,
}

/// A named container port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerPort {
    /// Name.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Number.
    pub port: u16,
}

/// A Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
}
