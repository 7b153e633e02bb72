//! Node.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

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
    /// `metadata.creationTimestamp`, in seconds since 1970; 0 if nobody says.
    pub created: i64,
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
    /// Ranges of its pods, whoever gave them: the annotation `weir.dev/pod-ranges`, else `spec.podCIDRs`. Without those that
    /// another Node has ([`Self::refused`]).
    pub pod_cidrs: Vec<IpNetwork>,
    /// What it names and another Node has: ranges of pods, and addresses of `internal_ips`.
    pub refused: Vec<Refused>,
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

/// A range of pods, or an address, that one Node names and another one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The range, or the address as one.
    pub what: IpNetwork,
    /// It is a range of pods.
    pub pods: bool,
    /// The Node that has it, or what of it overlaps.
    pub by: Arc<str>,
}

impl Node {
    /// Whether packets to one of its addresses are its own: no other Node has it.
    pub fn holds(&self, ip: IpAddr) -> bool {
        let is_it = |refused: &Refused| !refused.pods && refused.what == IpNetwork::from(ip);
        !self.refused.iter().any(is_it)
    }

    /// All ranges that it names, in force or not.
    pub fn named_ranges(&self) -> impl Iterator<Item = IpNetwork> {
        let refused = self.refused.iter().filter(|refused| refused.pods);
        let in_force = self.pod_cidrs.iter().copied();
        in_force.chain(refused.map(|refused| refused.what))
    }

    /// What it names and others have, in words; none if nothing.
    pub fn conflict(&self) -> Option<String> {
        let mut by: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for Refused {
            what,
            pods,
            by: other,
        } in &self.refused
        {
            let what = if *pods {
                what.to_string()
            } else {
                what.ip().to_string()
            };
            by.entry(other).or_default().push(what);
        }
        let parts = by.iter();
        let parts: Vec<String> = parts
            .map(|(other, what)| format!("{}, which node {other} has", what.join(", ")))
            .collect();
        let (name, what) = (&self.name, parts.join("; "));
        (!parts.is_empty()).then(|| format!("node {name} names {what}: that is not in force"))
    }
}

/// Whether one of two ranges is a part of the other.
pub fn overlap(x: IpNetwork, y: IpNetwork) -> bool {
    x.contains(y.network()) || y.contains(x.network())
}
