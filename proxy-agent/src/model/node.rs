//! Node.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
    /// `status.addresses` of type `InternalIP`, in order.
    pub internal_ips: Vec<IpAddr>,
    /// All addresses of `status.addresses` that parse.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNetwork>,
    /// Has a deletion timestamp or the taint `ToBeDeletedByClusterAutoscaler` (KEP-3836).
    pub leaving: bool,
    /// Annotation `weir.dev/routing`: how its pods are reached, and other nodes' from it.
    pub routing: Option<String>,
    /// Condition `NetworkUnavailable` is False.
    pub network_available: bool,
}
