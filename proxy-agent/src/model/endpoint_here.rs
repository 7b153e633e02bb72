//! The endpoints of this node: what pods tell policy.

use std::net::IpAddr;

use cni_plugin::rpc::PortMapping;

use super::{AskedLimits, ContainerPort, Labels, ObjectName};

/// An endpoint: one pod of this node, wired by the plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalEndpoint {
    /// Endpoint id: index of its policy word, never 0.
    pub id: u32,
    /// The pod.
    pub pod: ObjectName,
    /// The pod's UID; empty if the runtime did not say.
    pub uid: String,
    /// Addresses that the plugin gave it.
    pub ips: Vec<IpAddr>,
    /// What a live read of the pod gave, for the time until the watch delivers it.
    pub fetched: Option<FetchedPod>,
}

/// The part of a pod that policy needs, read outside the watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchedPod {
    /// UID, and that of the static pod that it mirrors.
    pub uids: [String; 2],
    /// Its annotation `weir.dev/socket-balancing` is `false`.
    pub by_packet: bool,
    /// Limits of bandwidth that its annotations ask for, if they do.
    pub limits: Option<Box<AskedLimits>>,
    /// Labels.
    pub labels: Labels,
    /// Named ports of containers and restartable init containers.
    pub named_ports: Vec<ContainerPort>,
    /// `hostPort`s of the same.
    pub host_ports: Box<[PortMapping]>,
}
