//! What pods tell the node.

use std::net::IpAddr;

/// The host's side of a pod's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// The pod, `namespace/name`.
    pub pod: String,
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// MTU that the plugin gave it, 0 if unknown.
    pub mtu: u32,
    /// Hardware address of the pod's side.
    pub pod_mac: [u8; 6],
    /// The pod's addresses.
    pub ips: Vec<IpAddr>,
}

impl Wire {
    /// Whether it is the same interface, of the same pod. Its MTU is known only once the plugin's record has been read.
    pub fn is_as(&self, other: &Self) -> bool {
        let Self {
            pod: _,
            name,
            index,
            mtu: _,
            pod_mac,
            ips,
        } = self;
        (name, index, pod_mac, ips) == (&other.name, &other.index, &other.pod_mac, &other.ips)
    }
}
