//! Node.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::NetworkUnavailable;

/// A Node.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is another thing that the API says"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: String,
    /// `metadata.uid`, by which a Node differs from another one of its name.
    pub uid: String,
    /// `status.nodeInfo.bootID`, as the kubelet reads it; empty if nobody says.
    pub boot_id: String,
    /// `status.nodeInfo`: version of the kubelet and image of the operating system.
    pub kubelet_and_image: [String; 2],
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
    /// `status.addresses` of type `InternalIP`, in order.
    pub internal_ips: Vec<IpAddr>,
    /// All addresses of `status.addresses` that parse.
    pub addresses: Vec<IpAddr>,
    /// Ranges of its pods, whoever gave them: the annotation `weir.dev/pod-ranges`, else `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNetwork>,
    /// They are of the annotation: its agent has claimed them.
    pub claimed: bool,
    /// `spec.podCIDRs`.
    pub spec_pod_cidrs: Vec<IpNetwork>,
    /// Annotation `weir.dev/pod-cidrs`: the ranges that it is to have with `ipam: cluster`.
    pub wanted_pod_cidrs: Option<String>,
    /// Has a deletion timestamp or the taint `ToBeDeletedByClusterAutoscaler` (KEP-3836).
    pub leaving: bool,
    /// Label `node.kubernetes.io/exclude-from-external-load-balancers`: no load balancer may send it anything.
    pub excluded: bool,
    /// Annotation `weir.dev/routing`: how its pods are reached, and other nodes' from it.
    pub routing: Option<String>,
    /// Annotation `weir.dev/wireguard-public-key`: what its agent has published.
    pub wireguard_key: Option<String>,
    /// Condition `NetworkUnavailable`; none where nobody says True or False.
    pub network_unavailable: Option<NetworkUnavailable>,
    /// Condition `Ready`: nobody says that it is anything but True.
    pub ready: bool,
    /// Has the taint `weir.dev/agent-not-ready`, which an agent takes away when the node is ready for pods.
    pub awaits_agent: bool,
    /// Its object is gone; what is known of it stays for a while. There is nobody to be told.
    pub gone: bool,
}
