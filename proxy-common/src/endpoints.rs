//! `ENDPOINTS` (HASH interface → endpoint) and `LOCAL_PODS4`, `LOCAL_PODS6` (HASH address → delivery).
//!
//! An endpoint is the host side of one pod's interface. Its id (1..[`MAX_ENDPOINTS`]) scopes its flows and
//! indexes `POLICY_WORDS`.

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

/// Capacity of `POLICY_WORDS`: endpoint ids are below this.
pub const MAX_ENDPOINTS: u32 = 4096;

/// Value of `ENDPOINTS`; the key is the interface index of the host side, `u32`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Endpoint id, never 0.
    pub id: u32,
    /// The pod's IPv4 address; 0 for none.
    pub address4: Address4,
    /// The pod's IPv6 address; `::` for none.
    pub address6: Address6,
    /// Hardware address of the pod's side.
    pub pod_mac: [u8; 6],
    /// Hardware address of the host's side.
    pub host_mac: [u8; 6],
    /// `ENDPOINT_*` bits.
    pub flags: u32,
}

/// Value of `LOCAL_PODS4` and `LOCAL_PODS6`; the key is the pod's address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalPod {
    /// Interface index of the host side.
    pub ifindex: u32,
    /// Endpoint id.
    pub endpoint: u32,
    /// Hardware address of the pod's side.
    pub pod_mac: [u8; 6],
    /// Hardware address of the host's side.
    pub host_mac: [u8; 6],
    /// `ENDPOINT_*` bits.
    pub flags: u32,
}

/// Packets to this pod go through its interface's queueing discipline (bandwidth limits): no
/// `bpf_redirect_peer`, which skips it.
pub const ENDPOINT_SHAPED: u32 = 1 << 0;

map_types!(Endpoint = 40, LocalPod = 24);
